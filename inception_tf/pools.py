"""Pools in Keras 3, whose own can only pad as `same` does, and helpers for windows."""

from __future__ import annotations

from typing import Any

from keras import KerasTensor, layers, ops

Size = int | tuple[int, int]


class MaxPool(layers.Layer):
    """Largest value of each window; the padding is -infinity.

    Args:
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: rows and columns on each side, one number or (height, width).
        ceil_mode: whether a last window may reach beyond the padding; it must
            start inside the input or the padding before it (PyTorch's rule).

    Shape:
        (N, H, W, C) -> (N, H', W', C), H' = (H + 2 padding - kernel) // stride + 1;
        in ceil mode the division rounds up

    Raises:
        ValueError: the padding is more than half the window, or the input too small.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size,
        padding: Size = 0,
        ceil_mode: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_half(kernel_size, padding)
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.ceil_mode = ceil_mode

    def call(self, x: KerasTensor) -> KerasTensor:
        after = _padding_after(self.kernel_size, self.stride, self.padding, self.ceil_mode)
        x = pad(x, self.padding, float("-inf"), after)
        _require_window(x, self.kernel_size)
        return ops.max_pool(x, self.kernel_size, self.stride, padding="valid")


class AvgPool(layers.Layer):
    """Mean of each window; `count_include_pad` decides how many values count.

    Args:
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: rows and columns on each side, one number or (height, width).
        count_include_pad: True divides by the size of the window, counting the
            padding as zeros; False by the number of values inside the input.

    Shape:
        (N, H, W, C) -> (N, H', W', C), H' = (H + 2 padding - kernel) // stride + 1

    Raises:
        ValueError: the padding is more than half the window, or the input too small.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size,
        padding: Size = 0,
        *,
        count_include_pad: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_half(kernel_size, padding)
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.count_include_pad = count_include_pad

    def call(self, x: KerasTensor) -> KerasTensor:
        centred = all(
            2 * zeros + 1 == k for zeros, k in zip(self.padding, self.kernel_size, strict=True)
        )
        if centred and self.stride == (1, 1) and not self.count_include_pad:
            # Here this equals TensorFlow's `same`, which never counts the padding.
            return ops.average_pool(x, self.kernel_size, 1, padding="same")
        mean = self._mean(pad(x, self.padding, 0.0))
        if self.count_include_pad or self.padding == (0, 0):
            return mean
        inside = pad(ops.ones_like(x[:1, :, :, :1]), self.padding, 0.0)
        return mean / self._mean(inside)  # how much of each window is inside the input

    def _mean(self, x: KerasTensor) -> KerasTensor:
        _require_window(x, self.kernel_size)
        return ops.average_pool(x, self.kernel_size, self.stride, padding="valid")


class AdaptiveAvgPool(layers.Layer):
    """Means of a fixed number of windows, which may overlap, over any input.

    Window i of n over H rows goes from floor(i H / n) to ceil((i + 1) H / n), exclusive.
    Keras' own layer, in versions that have one, needs H and W in advance.

    Args:
        output_size: number of windows, one number or (height, width).

    Shape:
        (N, H, W, C) -> (N, *output_size, C)
    """

    def __init__(self, output_size: Size, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = pair(output_size)

    def call(self, x: KerasTensor) -> KerasTensor:
        _, height, width, _ = ops.shape(x)  # numbers where known, tensors otherwise
        # Windows are rectangles, so the mean of the rows' means is the mean.
        rows = [x[:, i] for i in _adaptive_slices(height, self.output_size[0])]
        x = ops.stack([ops.mean(row, axis=1) for row in rows], axis=1)
        columns = [x[:, :, j] for j in _adaptive_slices(width, self.output_size[1])]
        return ops.stack([ops.mean(column, axis=2) for column in columns], axis=2)


class GlobalAvgPool(layers.GlobalAveragePooling2D):
    """Mean over height and width: (N, H, W, C) -> (N, 1, 1, C)."""

    def __init__(self) -> None:
        super().__init__(keepdims=True)


def require_half(kernel_size: Size, padding: Size) -> None:
    """Raise ValueError if a window could lie in the padding alone."""
    for window, zeros in zip(pair(kernel_size), pair(padding), strict=True):
        if 2 * zeros > window:
            raise ValueError(f"{padding=}, but should be at most half of {kernel_size=}")


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


def pad(
    x: KerasTensor,
    padding: tuple[int, int],
    value: float,
    after: tuple[int, int] | None = None,
) -> KerasTensor:
    """Surround (N, H, W, C) with `value`: `padding` rows and columns, `after` at the end."""
    (top, left), (bottom, right) = padding, after or padding
    if (top, left, bottom, right) == (0, 0, 0, 0):
        return x
    return ops.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _padding_after(
    kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], ceil_mode: bool
) -> tuple[int, int]:
    """Return the padding at the end that gives a floor-mode pool all windows it should have.

    In ceil mode, stride - 1 more rows round the division up. More than kernel - 1
    of them would let a window start after the input, where PyTorch drops it.
    """
    if not ceil_mode:
        return padding
    (height, width), (down, right), (top, left) = kernel_size, stride, padding
    return min(top + down - 1, height - 1), min(left + right - 1, width - 1)


def _adaptive_slices(size: Any, windows: int) -> list[slice]:
    return [slice(i * size // windows, -(-(i + 1) * size // windows)) for i in range(windows)]


def _require_window(x: KerasTensor, kernel_size: tuple[int, int]) -> None:
    """Raise ValueError if `x`, of known size and already padded, is smaller than the window."""
    height, width = kernel_size
    known = None not in x.shape[1:3]
    if known and (x.shape[1] < height or x.shape[2] < width):
        raise ValueError(f"padded input {x.shape[1:3]} is smaller than the {height}x{width} window")
