"""What can be done to an image or to features, and its label.

A pretext is a finite family of transformations whose index is a label that costs nothing.
"""

from pretask.pretexts.base import Domain, Pretext
from pretask.pretexts.color import ColorOrder
from pretask.pretexts.discard import ChannelDiscard, RegionDiscard
from pretask.pretexts.factory import PRETEXTS, create_pretext, create_pretexts
from pretask.pretexts.flip import HorizontalFlip, VerticalFlip
from pretask.pretexts.patch import PatchPretext, transform_shared
from pretask.pretexts.patch_tasks import LoRotE, LoRotI, PatchColor, PatchFlip, PatchRotation
from pretask.pretexts.place import GridPlaces, Place, Places, WindowPlaces
from pretask.pretexts.products import Product, product, split_domains
from pretask.pretexts.rotation import Rotation

__all__ = [
    "PRETEXTS",
    "ChannelDiscard",
    "ColorOrder",
    "Domain",
    "GridPlaces",
    "HorizontalFlip",
    "LoRotE",
    "LoRotI",
    "PatchColor",
    "PatchFlip",
    "PatchPretext",
    "PatchRotation",
    "Place",
    "Places",
    "Pretext",
    "Product",
    "RegionDiscard",
    "Rotation",
    "VerticalFlip",
    "WindowPlaces",
    "create_pretext",
    "create_pretexts",
    "product",
    "split_domains",
    "transform_shared",
]
