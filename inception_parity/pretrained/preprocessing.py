"""What a network's weights expect of an image: the definition, in NumPy and Pillow.

1. Resize: the shorter side becomes `resize`, and the longer one keeps the proportions, rounded
   down; or both sides become what `resize` says. Pillow resizes 8-bit values with its `bilinear`,
   `bicubic` or `nearest` filter, first along rows, then along columns, rounding after each. Where
   it reduces, its filters average over the pixels that become one (antialiasing).
2. Cut out the centred box of `crop`. Where half the border isn't whole, it is rounded to even.
3. Bring pixels from 0 … 255 to `range`, subtract `mean` and divide by `std`, in float32.

Without `antialias` the filter keeps its width where it reduces, as OpenCV's does. Pillow can't do
that; `resampling` computes both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

ONES, ZEROS = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
PRECISION = 22  # bits of a weight after the point, as in Pillow


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
        range: what 0 and 255 become, before mean and std.
        mean: of red, green and blue, subtracted.
        std: of red, green and blue, divided by.
    """

    name: str = ""
    source: str = ""
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, float, float] = ZEROS
    std: tuple[float, float, float] = ONES

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) of what comes out; None if it depends on the image."""
        if self.crop is not None:
            return self.crop
        return self.resize if isinstance(self.resize, tuple) else None

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
                pixels = resampled(np.asarray(image), height, width, self.interpolation)
                image = Image.fromarray(pixels)
        if self.crop is None:
            return image
        top, left = offset(image.height, self.crop[0]), offset(image.width, self.crop[1])
        # Beyond a smaller image, Pillow adds black, as torchvision does.
        return image.crop((left, top, left + self.crop[1], top + self.crop[0]))

    def scaled(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return pixels, (H, W, 3), as (3, H, W) in the range that is expected (step 3)."""
        low, high = self.range
        mean, std = np.array([self.mean, self.std], np.float32)
        x = pixels.astype(np.float32) / np.float32(255 / (high - low)) + np.float32(low)
        x = (x - mean) / std
        return np.ascontiguousarray(x.transpose(2, 0, 1), np.float32)


def resized(resize: int | tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of an image after step 1."""
    if resize is None:
        return height, width
    if not isinstance(resize, int):
        return resize
    if height <= width:
        return resize, int(resize * width / height)
    return int(resize * height / width), resize


def offset(length: int, crop: int) -> int:
    """Return where a centred box begins; half a pixel is rounded to even, as Python does."""
    return round((length - crop) / 2)


def resampled(
    pixels: NDArray[np.uint8], height: int, width: int, interpolation: str, antialias: bool = False
) -> NDArray[np.uint8]:
    """Return an image, (H, W, C), resized along rows and then along columns."""
    for axis, length in ((1, width), (0, height)):
        weights = resampling(pixels.shape[axis], length, interpolation, antialias)
        sums = np.moveaxis(np.tensordot(weights, pixels.astype(np.float64), (1, axis)), 0, axis)
        rounded = np.floor((sums + 2 ** (PRECISION - 1)) / 2**PRECISION)
        pixels = np.clip(rounded, 0, 255).astype(np.uint8)
    return pixels


def resampling(
    length: int, target: int, interpolation: str, antialias: bool
) -> NDArray[np.float64]:
    """Return the weights of `length` pixels in each of `target`: whole numbers, 2**22 in sum.

    They are Pillow's, with `antialias`; sums of products with 8-bit values are exact in float64.
    """
    scale = length / target
    centres = (np.arange(target)[:, None] + 0.5) * scale
    pixels = np.arange(length)
    if interpolation == "nearest":
        return np.where(pixels == np.floor(centres), 2.0**PRECISION, 0.0)
    widened = max(scale, 1.0) if antialias else 1.0
    support = {"bilinear": 1.0, "bicubic": 2.0}[interpolation] * widened
    first = np.maximum(np.floor(centres - support + 0.5), 0)
    last = np.minimum(np.floor(centres + support + 0.5), length)
    x = np.abs((pixels - centres + 0.5) / widened)
    values = np.maximum(1 - x, 0) if interpolation == "bilinear" else _cubic(x)
    values = np.where((pixels >= first) & (pixels < last), values, 0.0)
    shares = values / values.sum(axis=1, keepdims=True) * 2**PRECISION
    return np.trunc(shares + np.copysign(0.5, shares))


def _cubic(x: NDArray[np.float64], a: float = -0.5) -> NDArray[np.float64]:
    """Return Keys' kernel at distances x."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
