"""What is explained, the models and the images that are shown, and how its parts draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from pretask.data import FileImages, ImageData, LabelledImages
from pretask.data.images.containers import ImageStore
from pretask.data.images.decode import UnreadableImageError
from pretask.errors import PretaskError
from pretask.evaluation.predictions import embed, split_images, split_loader
from pretask.io.files import write_atomically
from pretask.methods import Classifier, load_classifier, load_encoder
from pretask.registry import Registry

CELL = 1.6
"""Side of a picture in a gallery, in inches."""
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "pretask", "font.size": 8}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
    return figure


def show_image(axes: Any, image: Tensor, title: str) -> None:
    """Show an image [C, H, W] in [0, 1], grey or in colours, under a title and without axes."""
    picture = image.permute(1, 2, 0).numpy()
    axes.imshow(picture if picture.shape[2] == 3 else picture[:, :, 0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending, at once or not at all."""
    kind = path.suffix.removeprefix(".")
    undated = {"Date": None} if kind == "svg" else {}
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names may hold dollar signs
    with mpl.rc_context(_STYLE):
        write_atomically(path, lambda draft: figure.savefig(draft, format=kind, metadata=undated))


@dataclass(frozen=True, eq=False)
class Chosen:
    """Images to be looked at one by one.

    Attributes:
        pixels: [n, C, H, W] in [0, 1].
        labels: the true class of each, None where unknown.
        titles: what each is called.
    """

    pixels: Tensor
    labels: tuple[int | None, ...]
    titles: tuple[str, ...]


def named_pictures(paths: Sequence[Path | str], channels: int, size: tuple[int, int]) -> Chosen:
    """Return picture files at (height, width), with 1 or 3 channels.

    Raises:
        PretaskError: one of them cannot be read; the message names it.
    """
    files = FileImages(Path(), [str(path) for path in paths], channels)
    try:
        return _chosen(files, range(len(files)), [None] * len(files), size)
    except UnreadableImageError as fault:
        raise PretaskError(
            f"cannot show {fault.what} ({fault.reason}): give picture files with --images"
        ) from fault


def drawn_images(images: LabelledImages, count: int, size: tuple[int, int], seed: int) -> Chosen:
    """Return images of a split at (height, width), one of each class in turn until there are `count`."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    by_class: dict[int, list[int]] = {}
    for row in order:
        by_class.setdefault(int(images.labels[row]), []).append(row)
    queues = [by_class[label] for label in sorted(by_class)]
    turns = range(max(map(len, queues)))
    rows = [queue[turn] for turn in turns for queue in queues if turn < len(queue)][:count]
    return _chosen(images.images, rows, [int(images.labels[row]) for row in rows], size)


def drawn_subset(images: LabelledImages, count: int, seed: int) -> LabelledImages:
    """Return at most `count` images of a split, drawn uniformly, in the split's order."""
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    return images.subset(drawn.sort().values)


def _chosen(
    images: ImageStore, rows: Sequence[int], labels: Sequence[int | None], size: tuple[int, int]
) -> Chosen:
    pixels = [images.fitted(row, size) for row in rows]
    titles = tuple(images.describe(row) for row in rows)
    return Chosen(torch.stack(pixels).float() / 255, tuple(labels), titles)


@dataclass(frozen=True, eq=False)
class Scene:
    """The models that are explained, and on what.

    Attributes:
        models: folder of each, by the name it has in pictures.
        data: whose images are shown; its classes are those of all models.
        split: of the data.
        pictures: that the user named, looked at one by one in place of images drawn from the split.
        count: how many are drawn.
        points: images at most whose answers or features are shown together.
        inference: the way to answer that is asked; each model's default where None.
        seed: draws images.
        device: where models run.
    """

    models: Mapping[str, Path]
    data: ImageData
    split: str
    count: int
    points: int
    seed: int
    device: torch.device
    pictures: Chosen | None = None
    inference: str | None = None
    _classifiers: dict[str, Classifier] = field(default_factory=dict)
    _features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """N names."""
        return self.data.class_names

    @cached_property
    def chosen(self) -> Chosen:
        """The images that are looked at one by one.

        Raises:
            PretaskError: the data has no such split.
        """
        if self.pictures is not None:
            return self.pictures
        return drawn_images(split_images(self.data, self.split), self.count, self.data.image_size, self.seed)

    @cached_property
    def crowd(self) -> LabelledImages:
        """The images that are shown together.

        Raises:
            PretaskError: the data has no such split.
        """
        return drawn_subset(split_images(self.data, self.split), self.points, self.seed)

    def classifier(self, name: str) -> Classifier:
        """Return a model by its name, where it runs."""
        if name not in self._classifiers:
            self._classifiers[name] = load_classifier(self.models[name], self.inference).to(self.device)
        return self._classifiers[name]

    def features(self, name: str) -> Tensor:
        """Return the features [n, D] that the model `name` has of the crowd, on the CPU."""
        if name not in self._features:
            encoder = load_encoder(self.models[name]).to(self.device)
            size = self.data.image_size
            loader = split_loader(encoder, self.crowd, image_size=size, batch_size=256, device=self.device)
            with closing(loader):
                self._features[name], _ = embed(encoder, loader)
        return self._features[name]


Part = Callable[[Scene, Path], dict[str, Any]]
"""Draws a scene into a file whose ending says the format, .png or .svg; returns by name what it found, JSON-able."""

PARTS: Registry[Part] = Registry("part of an explanation", "pretask.explain")
"""Parts by name, which is also what their file is called."""
