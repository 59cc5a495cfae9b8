"""Networks that return pooled features, found by name: see `create_backbone`."""

from pretask.backbones.base import FAMILIES, Backbone, Family, Request, Tap
from pretask.backbones.factory import backbone_names, create_backbone, resolve_backbone_name
from pretask.backbones.facts import BackboneFacts

__all__ = [
    "FAMILIES",
    "Backbone",
    "BackboneFacts",
    "Family",
    "Request",
    "Tap",
    "backbone_names",
    "create_backbone",
    "resolve_backbone_name",
]
