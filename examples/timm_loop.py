"""Joint labels in a training loop made of timm's parts: its optimiser, schedule, averaged weights and meters."""

from __future__ import annotations

import argparse

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter, ModelEmaV3, accuracy

from pretask import MethodParts, create_backbone, create_method, create_pretexts, load_data
from pretask.data import apply_splits, create_loader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=15)
args = parser.parse_args()

torch.manual_seed(0)
data = apply_splits(load_data("digits"), per_class=30, seed=0)
parts = MethodParts(
    backbone=create_backbone("resnet8", image_size=data.image_size, in_channels=data.channels),
    class_counts=data.class_counts,
    mean=data.mean,
    std=data.std,
    pretexts=create_pretexts("rotation"),
)
method = create_method("sla-sd", parts)  # images in [0, 1] and labels -> {"loss": …}
loader = create_loader(
    data.train, image_size=data.image_size, batch_size=50, device="cpu", train=True, augment=data.augment
)
optimizer = create_optimizer_v2(method, opt="adamw", lr=3e-3, weight_decay=0.05)
schedule = CosineLRScheduler(optimizer, t_initial=args.epochs * len(loader), t_in_epochs=False)
average = ModelEmaV3(method, decay=0.95)

step = 0
for epoch in range(args.epochs):
    losses = AverageMeter()
    for batch in loader.epoch(epoch):
        loss = method(batch.images, batch.labels)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        schedule.step_update(step)
        average.update(method, step=step)
        losses.update(loss.item(), len(batch.labels))
    print(f"epoch {epoch + 1}: loss {losses.avg:.3f}, lr {optimizer.param_groups[0]['lr']:.1e}")

assert data.test is not None
images, labels = data.test.images.array.float() / 255, data.test.labels
with torch.no_grad():
    for inference in method.inferences:
        classifier = average.module.classifier(inference).eval()
        (top1,) = accuracy(classifier(images), labels)
        print(f"{inference}: {top1.item():.1f} % of {len(labels)} test images")
