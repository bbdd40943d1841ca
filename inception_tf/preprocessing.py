"""What a network's weights expect of an image, in Keras 3: resize, crop, scale.

Pillow's resize, on which the figures of most published weights rest, is computed as two products
with matrices of whole numbers. They are exact in float64, so the pixels are Pillow's bit for bit,
and the same in the sister packages. The frameworks' own resizes differ from it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, backend, layers, ops

PRECISION = 22  # bits of a weight after the point, as in Pillow
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@keras.saving.register_keras_serializable("inception_tf")
class Preprocess(layers.Layer):
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
        input:  (H, W, 3) or (N, H, W, 3), uint8, of any size; or an image of Pillow
        output: (H', W', 3) or (N, H', W', 3), float32

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
        **kwargs: Any,
    ) -> None:
        require_settings(resize, crop, interpolation, value_range, std)
        super().__init__(**{"dtype": "float32", **kwargs})
        self.resize, self.crop = resize, crop
        self.interpolation, self.antialias = interpolation, antialias
        self.value_range, self.mean, self.std = value_range, mean, std

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        if hasattr(images, "convert"):  # one of Pillow's, in whatever mode
            images = np.asarray(images.convert("RGB"))
        return super().__call__(images, *args, **kwargs)

    def call(self, images: KerasTensor) -> KerasTensor:
        x = images
        require_pixels(backend.standardize_dtype(x.dtype), x.shape[-1])
        old_height, old_width = ops.shape(x)[-3:-1]
        height, width = resized(self.resize, old_height, old_width)
        if self.resize is not None:  # along rows, then along columns
            x = rounded(ops.matmul(self._weights(old_width, width), ops.cast(x, "float64")))
            x = ops.swapaxes(x, -3, -2)
            x = rounded(ops.matmul(self._weights(old_height, height), x))
            x = ops.swapaxes(x, -3, -2)
        if self.crop is not None:
            top, left = offset(height, self.crop[0]), offset(width, self.crop[1])
            x = x[..., top : top + self.crop[0], left : left + self.crop[1], :]
        return self._scaled(ops.cast(x, "float32"))

    def _weights(self, length: Any, target: Any) -> Any:
        return resampling(length, target, self.interpolation, self.antialias)

    def _scaled(self, x: Any) -> Any:
        low, high = self.value_range
        mean, std = np.array([self.mean, self.std], np.float32)
        x = x / np.float32(255 / (high - low)) + np.float32(low)
        return (x - mean) / std

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, whose sides are known if `crop` or `resize` says them."""
        sides: tuple[int | None, ...] = (None, None)
        if self.crop is not None:
            sides = self.crop
        elif self.resize is None:
            sides = input_shape[-3:-1]
        elif not isinstance(self.resize, int):
            sides = self.resize
        return (*input_shape[:-3], *sides, 3)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for Keras to save."""
        own = ("resize", "crop", "interpolation", "antialias", "value_range", "mean", "std")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def rounded(sums: Any) -> Any:
    """Return sums of weighted pixels as 8-bit values."""
    return ops.clip(ops.floor((sums + 2.0 ** (PRECISION - 1)) / 2.0**PRECISION), 0, 255)


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


def resized(resize: int | tuple[int, int] | None, height: Any, width: Any) -> tuple[Any, Any]:
    """Return the (height, width) of an image after step 1."""
    if resize is None:
        return height, width
    if not isinstance(resize, int):
        return resize
    known = isinstance(height, int) and isinstance(width, int)
    shorter = min(height, width) if known else ops.minimum(height, width)
    return resize * height // shorter, resize * width // shorter


def offset(length: Any, crop: int) -> Any:
    """Return where a centred box begins; half a pixel is rounded to even.

    Raises:
        ValueError: the image is smaller than the box.
    """
    if isinstance(length, int) and length < crop:
        raise ValueError(f"an image of {length} pixels, but should be at least crop={crop}")
    half, odd = (length - crop) // 2, (length - crop) % 2
    return half + odd * (half % 2)


def resampling(length: Any, target: Any, interpolation: str, antialias: bool) -> Any:
    """Return the weights of `length` pixels in each of `target`: whole numbers, 2**22 in sum."""
    scale = ops.cast(length, "float64") / ops.cast(target, "float64")
    centres = (ops.cast(ops.arange(target), "float64")[:, None] + 0.5) * scale
    pixels = ops.cast(ops.arange(length), "float64")
    none = ops.zeros_like(pixels - centres)
    if interpolation == "nearest":  # Pillow adds up steps, so its centres are rounded otherwise
        steps = ops.where(ops.arange(target) > 0, scale, 0.5 * scale)
        centres = ops.cumsum(steps)[:, None]
        return ops.where(pixels == ops.floor(centres), none + 2.0**PRECISION, none)
    widened = ops.maximum(scale, 1.0) if antialias else 1.0
    support = 2 * widened if interpolation == "bicubic" else widened
    x = ops.abs((pixels - centres + 0.5) / widened)
    values = cubic(x) if interpolation == "bicubic" else ops.maximum(1 - x, none)
    first, last = ops.floor(centres - support + 0.5), ops.floor(centres + support + 0.5)
    values = ops.where((pixels >= first) & (pixels < last), values, none)
    shares = values / ops.sum(values, axis=1, keepdims=True) * 2.0**PRECISION
    return ops.trunc(shares + 0.5 * ops.sign(shares))


def cubic(x: Any) -> Any:
    """Return Keys' kernel, with a = -0.5 as in Pillow, at distances x."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return ops.where(x < 1, near, ops.where(x < 2, far, ops.zeros_like(x)))
