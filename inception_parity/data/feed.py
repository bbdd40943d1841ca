"""Training data: labelled images, and the batches that every framework gets.

A batch depends on the data, the feed's settings, the epoch and its place in the epoch, and on
nothing else: not on the framework, the machine, or what was drawn before. So an interrupted
training resumes with the very batches that it would have seen.

1. Shuffle: the images of an epoch are sorted by one raw integer of PCG64 each.
2. Decode, crop and resize as `images.py` states: 8-bit pixels, (channels, height, width).
3. Augment, in training and on request: the image, with a black frame an eighth of its sides
   wide, is cropped to its size at a random place, and mirrored half the time.
4. A pixel p becomes (2p - 255) / 256 (`signed`: -1 … 1, as in `check`), p / 255 (`unit`: 0 … 1,
   as in d2l), or that less ImageNet's mean and divided by its standard deviation (`imagenet`, as
   in torchvision), in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..numerics import raw_integers

if TYPE_CHECKING:
    from PIL import Image

AUGMENTATIONS = ("none", "crop-flip")
PIXELS = ("signed", "unit", "imagenet")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's: red, green and blue
FRAME = 8  # the frame of a crop is this part of a side

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]  # (N, C, H, W) and (N,)


@dataclass(frozen=True)
class Split:
    """Labelled images: those to train with, or those to test with."""

    labels: NDArray[np.int64] = field(repr=False)
    read: Callable[[int, str], Image.Image] = field(repr=False)  # number, `L` or `RGB` -> image

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """Two splits of labelled images, and the names of the classes."""

    name: str
    classes: tuple[str, ...]
    channels: int  # 1 (grey) or 3 (RGB), as they are stored
    digest: str  # sha256 of what makes it this data set and no other
    train: Split
    test: Split
    note: str = ""  # where it comes from

    def limited(self, train: int | None, test: int | None) -> DataSet:
        """Return the data set with only the first images of each split; None for all.

        Raises:
            InputError: more are asked for than there are, or none.
        """
        splits = []
        for name, split, count in (("train", self.train, train), ("test", self.test, test)):
            if count is not None and not 1 <= count <= len(split):
                raise InputError(
                    f"--{name}-images {count}, but {self.name} has 1 to {len(split):,} of them"
                )
            splits.append(Split(split.labels[:count], split.read))
        return replace(self, train=splits[0], test=splits[1])


@dataclass(frozen=True)
class Feed:
    """How images become batches.

    Args:
        size: (height, width) of the images.
        channels: 1 (luma) or 3 (RGB).
        batch: images in a batch; the last batch of an epoch has the rest.
        seed: of shuffle and augmentation.
        augment: one of AUGMENTATIONS.
        pixels: one of PIXELS.
    """

    size: tuple[int, int]
    channels: int
    batch: int
    seed: int = 0
    augment: str = "none"
    pixels: str = "signed"

    def steps(self, split: Split) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(split) // self.batch)

    def images(self, split: Split, step: int) -> int:
        """Return the number of images in batch `step` of an epoch."""
        return min(self.batch, len(split) - step * self.batch)

    def train(self, split: Split, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches, shuffled and augmented, starting with number `first`."""
        order = np.argsort(self._raw("shuffle", epoch, len(split)), kind="stable")
        draws = self._raw("augment", epoch, 3 * len(split)).reshape(-1, 3)
        for chosen in self._chunks(order, first):
            pixels = self._read(split, chosen)
            if self.augment == "crop-flip":
                pairs = zip(pixels, draws[chosen], strict=True)
                pixels = np.stack([_crop_flip(image, draw) for image, draw in pairs])
            yield self._scaled(pixels), split.labels[chosen]

    def test(self, split: Split) -> Iterator[Batch]:
        """Yield all batches in the order of the data, as they are."""
        for chosen in self._chunks(np.arange(len(split)), 0):
            yield self._scaled(self._read(split, chosen)), split.labels[chosen]

    def _chunks(self, order: NDArray[np.int64], first: int) -> Iterator[NDArray[np.int64]]:
        for start in range(first * self.batch, len(order), self.batch):
            yield order[start : start + self.batch]

    def _raw(self, purpose: str, epoch: int, count: int) -> NDArray[np.uint64]:
        return raw_integers(f"{self.seed} {purpose} {epoch}", count)

    def _read(self, split: Split, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        from . import images  # Pillow, which a worker in another interpreter doesn't have

        mode = "L" if self.channels == 1 else "RGB"
        read = [np.asarray(images.fitted(split.read(int(i), mode), self.size)) for i in chosen]
        return np.stack(read).reshape(-1, *self.size, self.channels).transpose(0, 3, 1, 2)

    def _scaled(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        wide = pixels.astype(np.float32)
        scaled = (2 * wide - 255) / 256 if self.pixels == "signed" else wide / np.float32(255)
        if self.pixels == "imagenet":
            mean, std = np.array([MEAN, STD], np.float32)[:, :, None, None]
            scaled = (scaled - mean) / std
        return np.ascontiguousarray(scaled, dtype=np.float32)


def _crop_flip(image: NDArray[np.uint8], draw: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return `image`, (C, H, W), moved by up to the frame's width, and mirrored or not."""
    _, height, width = image.shape
    frame = height // FRAME, width // FRAME
    framed = np.pad(image, ((0, 0), (frame[0], frame[0]), (frame[1], frame[1])))
    top, left = (int(d) % (2 * f + 1) for d, f in zip(draw, frame, strict=False))
    cut = framed[:, top : top + height, left : left + width]
    return cut[:, :, ::-1] if int(draw[2]) >> 63 else cut
