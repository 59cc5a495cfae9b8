"""A method in a training loop of your own: tensors in, a loss out, nothing else of the library needed."""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from pretask import MethodParts, create_backbone, create_method, create_pretexts

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--method", default="sla", help="baseline, da, mt, sla or sla-sd")
parser.add_argument("--epochs", type=int, default=3)
args = parser.parse_args()
torch.manual_seed(0)

digits = load_digits()
images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # [1797, 1, 8, 8] in [0, 1]
labels = torch.from_numpy(digits.target).long()
train_images, train_labels = images[:1200], labels[:1200]
loader = DataLoader(TensorDataset(train_images, train_labels), batch_size=50, shuffle=True, drop_last=True)

method = create_method(
    args.method,
    MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8), in_channels=1),
        class_counts=torch.bincount(train_labels),
        mean=(float(train_images.mean()),),
        std=(float(train_images.std()),),
        pretexts=create_pretexts("rotation"),
    ),
)
optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

for epoch in range(args.epochs):
    method.train()
    for batch, targets in loader:
        parts = method(batch, targets)  # "loss" to differentiate; the others are for your log
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    print(f"epoch {epoch + 1}:", ", ".join(f"{name} {value.item():.3f}" for name, value in parts.items()))

method.eval()
for inference in method.inferences:
    with torch.no_grad():
        predicted = method.classifier(inference)(images[1200:]).argmax(dim=1)
    print(
        f"{inference}: {100 * (predicted == labels[1200:]).float().mean():.1f} % of {len(predicted)} test images"
    )
