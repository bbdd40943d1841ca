"""What a network's weights expect of an image, in NumPy: resize, crop, scale.

Pillow's resize, on which the figures of most published weights rest, is computed as two products
with matrices of whole numbers. They are exact in float64, so the pixels are Pillow's bit for bit,
and the same in the sister packages. The frameworks' own resizes differ from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISION = 22  # bits of a weight after the point, as in Pillow
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class Preprocess:
    """From 8-bit RGB images to what a network takes.

    1. Resize: the shorter side becomes `resize`, and the longer one keeps the proportions, rounded
       down; or both sides become what `resize` says. Rows are resized first, then columns, and
       each result is rounded to 8 bits.
    2. Cut out the centred box of `crop`. Where half the border isn't whole, it is rounded to even.
    3. Bring pixels from 0 … 255 to `value_range`, subtract `mean`, divide by `std`, in float32.

    Source: Pillow's resize, torchvision's Resize, CenterCrop and Normalize.
    Deviation: none; without `antialias`, filters aren't widened where they reduce, as in OpenCV.

    Args:
        resize: length of the shorter side, or (height, width); None: images stay as large as
            they are.
        crop: (height, width) of the centred box; None: all of the image.
        interpolation: `nearest`, `bilinear` or `bicubic`.
        antialias: whether filters average over all pixels that become one.
        value_range: what 0 and 255 become, before mean and std.
        mean: of red, green and blue.
        std: of red, green and blue.

    Shape:
        input:  (H, W, 3) or (N, H, W, 3), uint8; or an image of Pillow
        output: (3, H', W') or (N, 3, H', W'), float32

    Raises:
        ValueError: `resize` is smaller than `crop`, so is an image, or a value can't be used.
    """

    def __init__(
        self,
        resize: int | tuple[int, int] | None = None,
        crop: tuple[int, int] | None = None,
        interpolation: str = "bilinear",
        antialias: bool = True,
        value_range: tuple[float, float] = (0.0, 1.0),
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        require_settings(resize, crop, interpolation, value_range, std)
        self.resize, self.crop = resize, crop
        self.interpolation, self.antialias = interpolation, antialias
        self.value_range, self.mean, self.std = value_range, mean, std

    def __call__(self, images: Any) -> NDArray[np.float32]:
        if hasattr(images, "convert"):  # one of Pillow's, in whatever mode
            images = images.convert("RGB")
        x = np.moveaxis(np.asarray(images), -1, -3)
        require_pixels(x.dtype, x.shape[-3])
        height, width = resized(self.resize, *x.shape[-2:])
        if x.shape[-1] != width:
            x = rounded(x.astype(np.float64) @ self._weights(x.shape[-1], width).T)
        if x.shape[-2] != height:
            x = rounded(self._weights(x.shape[-2], height) @ x.astype(np.float64))
        if self.crop is not None:
            top, left = offset(height, self.crop[0]), offset(width, self.crop[1])
            x = x[..., top : top + self.crop[0], left : left + self.crop[1]]
        return self._scaled(x.astype(np.float32))

    def _weights(self, length: int, target: int) -> NDArray[np.float64]:
        return resampling(length, target, self.interpolation, self.antialias)

    def _scaled(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        low, high = self.value_range
        mean, std = np.array([self.mean, self.std], np.float32)[:, :, None, None]
        x = x / np.float32(255 / (high - low)) + np.float32(low)
        return (x - mean) / std


def rounded(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums of weighted pixels as 8-bit values."""
    return np.clip(np.floor((sums + 2.0 ** (PRECISION - 1)) / 2.0**PRECISION), 0, 255)


def require_pixels(dtype: Any, channels: Any) -> None:
    """Raise ValueError unless images have 8 bits and three channels."""
    if "uint8" not in str(dtype):
        raise ValueError(f"images of {dtype}, but should be of uint8: pixels in 0 to 255")
    if channels != 3:
        raise ValueError(f"images of {channels} channels, but should have 3: red, green and blue")


def require_settings(
    resize: int | tuple[int, int] | None,
    crop: tuple[int, int] | None,
    interpolation: str,
    value_range: tuple[float, float],
    std: tuple[float, float, float],
) -> None:
    """Raise ValueError unless images can be preprocessed so."""
    if interpolation not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation={interpolation!r}, but should be one of {known}")
    sides = (resize, resize) if isinstance(resize, int) else resize
    if min(sides or (1, 1)) < 1 or min(crop or (1, 1)) < 1:
        raise ValueError(f"resize={resize}, crop={crop}, but sides should be 1 or more")
    if sides and crop and (sides[0] < crop[0] or sides[1] < crop[1]):
        raise ValueError(f"crop={crop}, but should be at most resize={resize}")
    if value_range[0] >= value_range[1] or min(std) <= 0:
        raise ValueError(f"value_range={value_range} should increase, std={std} be above 0")


def resized(resize: int | tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of an image after step 1."""
    if resize is None:
        return height, width
    if not isinstance(resize, int):
        return resize
    shorter = min(height, width)
    return resize * height // shorter, resize * width // shorter


def offset(length: int, crop: int) -> int:
    """Return where a centred box begins; half a pixel is rounded to even.

    Raises:
        ValueError: the image is smaller than the box.
    """
    if length < crop:
        raise ValueError(f"an image of {length} pixels, but should be at least crop={crop}")
    half, odd = divmod(length - crop, 2)
    return half + odd * (half % 2)


def resampling(
    length: int, target: int, interpolation: str, antialias: bool
) -> NDArray[np.float64]:
    """Return the weights of `length` pixels in each of `target`: whole numbers, 2**22 in sum."""
    scale = length / target
    centres = (np.arange(target)[:, None] + 0.5) * scale
    pixels = np.arange(length)
    if interpolation == "nearest":  # Pillow adds up steps, so its centres are rounded otherwise
        centres = np.cumsum(np.append(0.5 * scale, np.full(target - 1, scale)))[:, None]
        return np.where(pixels == np.floor(centres), 2.0**PRECISION, 0.0)
    widened = max(scale, 1.0) if antialias else 1.0
    support = 2 * widened if interpolation == "bicubic" else widened
    x = np.abs((pixels - centres + 0.5) / widened)
    values = cubic(x) if interpolation == "bicubic" else np.maximum(1 - x, 0)
    first, last = np.floor(centres - support + 0.5), np.floor(centres + support + 0.5)
    values = np.where((pixels >= first) & (pixels < last), values, 0.0)
    shares = values / values.sum(axis=1, keepdims=True) * 2**PRECISION
    return np.trunc(shares + np.copysign(0.5, shares))


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Keys' kernel, with a = -0.5 as in Pillow, at distances x."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
