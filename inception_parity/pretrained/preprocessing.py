"""What a network's weights expect of an image: the definition, in NumPy and Pillow.

1. Resize: the shorter side becomes `resize`, and the longer one keeps the proportions, rounded
   down; or both sides become what `resize` says. Pillow resizes 8-bit values with its `bilinear`,
   `bicubic` or `nearest` filter, first along rows, then along columns, rounding after each. Where
   it reduces, its filters average over the pixels that become one (antialiasing).
2. Cut out the centred box of `crop`. Where half the border isn't whole, it is rounded to even.
3. Bring pixels from 0 … 255 to `value_range`, subtract `mean` and divide by `std`, in float32.

Without `antialias` the filter keeps its width where it reduces, as OpenCV's does. Pillow can't do
that; it is computed as in `inception_np.Preprocess`, which has all of this without Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inception_np.preprocessing import Preprocess, offset, resized

if TYPE_CHECKING:
    from PIL import Image

ONES, ZEROS = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Preprocessing:
    """From a photograph to what a network takes.

    Args:
        name: its own in the index.
        source: who says so.
        resize: length of the shorter side, or (height, width); None: as it is.
        crop: (height, width) of the centred box; None: all.
        interpolation: `bilinear`, `bicubic` or `nearest`.
        antialias: whether the filter is widened where it reduces.
        value_range: what 0 and 255 become, before mean and std.
        mean: of red, green and blue, subtracted.
        std: of red, green and blue, divided by.
    """

    name: str = ""
    source: str = ""
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, float, float] = ZEROS
    std: tuple[float, float, float] = ONES

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) of what comes out; None if it depends on the image."""
        if self.crop is not None:
            return self.crop
        return self.resize if isinstance(self.resize, tuple) else None

    @property
    def pixels(self) -> str:
        """The scaling of `train`, one of PIXELS, that comes nearest to this one."""
        low, high = self.value_range
        if self.mean == ZEROS:
            return "signed" if low < 0 else "unit"
        return "signed" if (self.mean[0] - low) / (high - low) == 0.5 else "imagenet"

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        """Return an RGB image as (3, height, width)."""
        return self.scaled(np.asarray(self.fitted(image)))

    def fitted(self, image: Image.Image) -> Image.Image:
        """Return the image, resized and cropped (steps 1 and 2)."""
        from PIL import Image

        height, width = resized(self.resize, image.height, image.width)
        if (height, width) != (image.height, image.width):
            if self.antialias or self.interpolation == "nearest":
                kind = Image.Resampling[self.interpolation.upper()]
                image = image.resize((width, height), kind)
            else:
                image = Image.fromarray(self._without_antialias(image, (height, width)))
        if self.crop is None:
            return image
        top, left = offset(image.height, self.crop[0]), offset(image.width, self.crop[1])
        return image.crop((left, top, left + self.crop[1], top + self.crop[0]))

    def _without_antialias(self, image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return an image's pixels, resized to (height, width) by filters that aren't widened."""
        resize = Preprocess(size, None, self.interpolation, antialias=False, value_range=(0, 255))
        return resize(image).transpose(1, 2, 0).astype(np.uint8)

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `Preprocess`, which every package has."""
        return {k: v for k, v in vars(self).items() if k not in ("name", "source")}

    def scaled(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return pixels, (H, W, 3), as (3, H, W) in the range that is expected (step 3)."""
        low, high = self.value_range
        mean, std = np.array([self.mean, self.std], np.float32)
        x = pixels.astype(np.float32) / np.float32(255 / (high - low)) + np.float32(low)
        x = (x - mean) / std
        return np.ascontiguousarray(x.transpose(2, 0, 1), np.float32)
