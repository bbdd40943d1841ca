"""What a trained network expects of images, and what its logits stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import images
from ..data.feed import PIXELS, Feed, Split
from ..errors import InputError
from ..traces.weights import SharedWeights

KEY = "training"  # in the history of a file of weights


@dataclass(frozen=True)
class Inputs:
    """How `train` prepares images, and the names of the classes.

    Args:
        height: of the images.
        width: of the images.
        pixels: one of PIXELS.
        classes: names of the first logits, in their order; of all unless --num-classes was larger.
    """

    height: int
    width: int
    pixels: str
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, weights: SharedWeights) -> Inputs | None:
        """Return what the history of weights says; None if they weren't trained here.

        Raises:
            InputError: it can't be understood.
        """
        if KEY not in weights.history:
            return None
        try:
            record = dict(weights.history[KEY])
            names = tuple(map(str, record.pop("classes")))
            found = cls(**record, classes=names)
            sides = (found.height, found.width)
            if not all(type(side) is int and side > 0 for side in sides):
                raise ValueError(f"{sides[0]}x{sides[1]}")
            if found.pixels not in PIXELS:
                raise ValueError(f"pixels {found.pixels!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"broken metadata: what the training says of its images ({error!r})"
            ) from error
        return found

    def history(self) -> Mapping[str, Any]:
        """Return the same as the history of a file of weights."""
        return {KEY: {**asdict(self), "classes": list(self.classes)}}

    def fields(self) -> dict[str, Any]:
        """Return size and pixels as fields of a plan's record."""
        return {"height": self.height, "width": self.width, "pixels": self.pixels}

    def prepare(self, file: Path, channels: int) -> NDArray[np.float32]:
        """Return an image, (channels, height, width), as `train` feeds it to be tested."""
        one = Split(np.zeros(1, np.int64), lambda _, mode: images.decoded(file, mode))
        feed = Feed((self.height, self.width), channels, 1, pixels=self.pixels)
        batch, _ = next(feed.test(one))
        return batch[0]

    @property
    def title(self) -> str:
        """Size and pixels, as messages call them."""
        return f"{self.height}x{self.width}, {self.pixels}"
