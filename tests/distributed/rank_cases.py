"""Every method on a batch whose images can be shared among ranks, its draws the same for the parts as for the union."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretask.backbones import create_backbone
from pretask.losses import LOSSES, create_loss
from pretask.methods import GATES, METHODS, Method, MethodParts, create_method
from pretask.methods.auxiliary import AuxiliaryTasks
from pretask.methods.controls import FeatureDropout
from pretask.methods.fixmatch import FixMatch
from pretask.methods.joint_labels import DistilledJointLabels
from pretask.methods.multi_view import MultiViewMethod

CASES = [
    *METHODS.names(), "fixmatch+sla-sd", *(f"gssl:{gate}" for gate in GATES.names()),
    *(f"baseline:{loss}" for loss in LOSSES.names()),
]  # fmt: skip
OF_FIXMATCH = {"unlabelled_ratio": 1, "pseudo_threshold": 0.0, "align_guesses": True}


def build(case: str, first: int = 0) -> Method:
    """Make a method, its draws by an image's place in the batch, which begins at image `first`."""
    name, _, more = case.partition(":")
    torch.manual_seed(0)
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8)),
        class_counts=torch.tensor([9, 5, 2]),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
        make_loss=create_loss(more if more in LOSSES.names() else "cross_entropy"),
    )
    options = dict(OF_FIXMATCH) if name.startswith("fixmatch") else {}
    if name == "gssl" and more:
        options["gate"] = "fixed:gate_weights=1,2,3" if more == "fixed" else more
    method = create_method(name, parts, **options).double()
    if isinstance(method, FixMatch):
        method.strong = nn.Identity()
    if isinstance(method, AuxiliaryTasks):
        method.embed_changed = lambda images: (
            method.encoder(images),
            [(torch.arange(len(images)) + first) * 5 % task.num_labels for task in method.pretexts],
        )
    elif isinstance(method, DistilledJointLabels) and method.drawn is not None:
        others = (torch.arange(9) + first) * 5 % (method.encoder.num_labels - 1) + 1
        pairs = torch.stack((torch.zeros_like(others), others), 1)  # the plain view and another
        method.encoder.drawn_views = lambda images, count, with_first: (
            method.encoder.transform(images.repeat_interleave(2, dim=0), pairs[: len(images)].flatten()),
            pairs[: len(images)].flatten(),
        )
    elif isinstance(method, MultiViewMethod) and method.drawn is not None:
        labels = [(torch.arange(n) + first) * 5 % method.encoder.num_labels for n in range(9)]
        method.embed_views = lambda images: (
            method.encoder.transform(images, labels[len(images)]),
            labels[len(images)],
        )
    elif isinstance(method, FeatureDropout):
        method.rate = 0.0
    return method


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(8, 3, 8, 8, generator=generator, dtype=torch.float64), torch.arange(8) % 3


def rows_of(rank: int, world: int, name: str) -> list[int]:
    """Return a rank's images: a part, or for FixMatch parts of the labelled and of the unlabelled ones."""
    if name.startswith("fixmatch"):
        mine = range(rank * 4 // world, (rank + 1) * 4 // world)
        return [*mine, *(4 + place for place in mine)]
    return list(range(rank * 8 // world, (rank + 1) * 8 // world))
