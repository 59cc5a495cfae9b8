"""A method inside a LightningModule: Lightning runs the loop, the method is the objective."""

from __future__ import annotations

import argparse

import torch
from torch.utils.data import DataLoader, TensorDataset

from pretask import MethodParts, create_backbone, create_method, create_pretexts, load_data
from pretask.data import ImageData, LabelledImages, apply_splits

try:
    import lightning
except ImportError:
    raise SystemExit("this example needs the package lightning: type `pip install lightning`") from None


class Lit(lightning.LightningModule):
    """Trains a method; validates its default inference."""

    def __init__(self, data: ImageData, method: str = "sla", backbone: str = "resnet8") -> None:
        super().__init__()
        network = create_backbone(backbone, image_size=data.image_size, in_channels=data.channels)
        pretexts = create_pretexts("rotation")
        self.method = create_method(
            method, MethodParts(network, data.class_counts, data.mean, data.std, pretexts)
        )

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        parts = self.method(*batch)
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, on_step=False, on_epoch=True)
        return parts["loss"]

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        correct = self.method.classifier()(batch[0]).argmax(dim=1) == batch[1]
        self.log("validation/top1", correct.float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


def tensors(split: LabelledImages) -> TensorDataset:
    pixels = torch.stack([split.images.read(i) for i in range(len(split))])
    return TensorDataset(pixels.float() / 255, split.labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    data = apply_splits(load_data("digits"), validation=0.2, per_class=40)
    trainer = lightning.Trainer(
        max_epochs=args.epochs, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    loader = DataLoader(tensors(data.train), batch_size=50, shuffle=True, drop_last=True)
    trainer.fit(Lit(data), loader, DataLoader(tensors(data.validation), batch_size=50))
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
