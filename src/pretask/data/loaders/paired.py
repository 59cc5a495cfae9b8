"""Labelled and unlabelled images in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from pretask.data.images.containers import LabelledImages
from pretask.data.loaders.batches import FILLER, Batch, Loader
from pretask.errors import PretaskError


class PairedLoader:
    """Batches of labelled images, each followed by unlabelled ones; see `Loader`.

    An epoch passes once over the unlabelled images. The labelled ones go round at their own pace: the batch of step s
    of the whole training depends on s alone.

    Args:
        labelled, unlabelled: training loaders of one rank.
    """

    def __init__(self, labelled: Loader, unlabelled: Loader) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled
        self.batch_size = labelled.batch_size + unlabelled.batch_size
        self.num_images = unlabelled.num_images
        self.kind = unlabelled.kind
        self.nbytes = labelled.nbytes + unlabelled.nbytes

    def __len__(self) -> int:
        return len(self.unlabelled)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches `start`… of an epoch, the labelled images first; others have label -1."""
        labelled = self._labelled_from(epoch * len(self) + start)
        for other in self.unlabelled.epoch(epoch, start):
            batch = next(labelled)
            yield Batch(
                torch.cat((batch.images, other.images)),
                torch.cat((batch.labels, torch.full_like(other.labels, FILLER))),
                torch.cat((batch.index, other.index)),
            )

    def _labelled_from(self, step: int) -> Iterator[Batch]:
        epoch, start = divmod(step, len(self.labelled))
        while True:
            yield from self.labelled.epoch(epoch, start)
            epoch, start = epoch + 1, 0

    def close(self) -> None:
        """Stop worker processes of both; see `Loader.close`."""
        self.labelled.close()
        self.unlabelled.close()


def pair(
    labelled: Loader,
    make: Callable[[LabelledImages, int], Loader],
    unlabelled: LabelledImages,
    ratio: int,
) -> PairedLoader:
    """Return batches of labelled images with `ratio` unlabelled ones for each.

    Args:
        labelled: a training loader.
        make: makes one of images, for a batch size.
        unlabelled: the images; their labels are not read.
        ratio: unlabelled images per labelled one, at least 1.

    Raises:
        PretaskError: there are fewer unlabelled images than a batch takes.
    """
    wanted = ratio * labelled.batch_size
    other = make(unlabelled, wanted)
    if other.batch_size < wanted:
        raise PretaskError(
            f"a step takes {labelled.batch_size} labelled and {wanted} unlabelled images, and there are "
            f"{len(unlabelled)} of these: type a smaller --batch-size or --unlabelled-ratio"
        )
    return PairedLoader(labelled, other)
