"""Pools in NumPy, each the formula of its docstring, and helpers for all windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .module import Array, Module

Size = int | tuple[int, int]


class MaxPool(Module):
    """Largest value of each window; the padding is -infinity.

    Args:
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: rows and columns on each side, one number or (height, width).
        ceil_mode: whether a last window may reach beyond the padding; it must
            start inside the input or the padding before it (PyTorch's rule).

    Shape:
        (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - kernel) // stride + 1;
        in ceil mode the division rounds up

    Raises:
        ValueError: the padding is more than half the window, or the input too small.
    """

    def __init__(
        self, kernel_size: Size, stride: Size, padding: Size = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        require_half(kernel_size, padding)
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.ceil_mode = ceil_mode

    def forward(self, x: Array) -> Array:
        after = _padding_after(self.kernel_size, self.stride, self.padding, self.ceil_mode)
        x = pad(x, self.padding, -np.inf, after)
        return windows_of(x, self.kernel_size, self.stride).max(axis=(-2, -1))

    def describe(self) -> str:
        return f"max pool {describe_window(self)}" + (" ceil" if self.ceil_mode else "")


class AvgPool(Module):
    """Mean of each window; `count_include_pad` decides how many values count.

    Args:
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: rows and columns on each side, one number or (height, width).
        count_include_pad: True divides by the size of the window, counting the
            padding as zeros; False by the number of values inside the input.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - kernel) // stride + 1

    Raises:
        ValueError: the padding is more than half the window, or the input too small.
    """

    def __init__(
        self, kernel_size: Size, stride: Size, padding: Size = 0, *, count_include_pad: bool
    ) -> None:
        super().__init__()
        require_half(kernel_size, padding)
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        counted = np.ones((1, 1, *x.shape[2:]))
        counted = pad(counted, self.padding, 1.0 if self.count_include_pad else 0.0)
        total = windows_of(pad(x, self.padding, 0.0), self.kernel_size, self.stride)
        count = windows_of(counted, self.kernel_size, self.stride)
        return total.sum(axis=(-2, -1)) / count.sum(axis=(-2, -1))

    def describe(self) -> str:
        counted = " counting the padding" if self.count_include_pad else ""
        return f"average pool {describe_window(self)}" + (counted if any(self.padding) else "")


class AdaptiveAvgPool(Module):
    """Means of a fixed number of windows, which may overlap, over any input.

    Window i of n over H rows goes from floor(i H / n) to ceil((i + 1) H / n), exclusive.

    Args:
        output_size: number of windows, one number or (height, width).

    Shape:
        (N, C, H, W) -> (N, C, *output_size)
    """

    def __init__(self, output_size: Size) -> None:
        super().__init__()
        self.output_size = pair(output_size)

    def forward(self, x: Array) -> Array:
        y = np.empty((*x.shape[:2], *self.output_size), x.dtype)
        for i, rows in enumerate(_adaptive_slices(x.shape[2], self.output_size[0])):
            for j, columns in enumerate(_adaptive_slices(x.shape[3], self.output_size[1])):
                y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
        return y

    def describe(self) -> str:
        return "adaptive average pool {}x{}".format(*self.output_size)


class GlobalAvgPool(Module):
    """Mean over height and width: (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Array) -> Array:
        return x.mean(axis=(2, 3), keepdims=True)

    def describe(self) -> str:
        return "global average pool"


def require_half(kernel_size: Size, padding: Size) -> None:
    """Raise ValueError if a window could lie in the padding alone."""
    for window, zeros in zip(pair(kernel_size), pair(padding), strict=True):
        if 2 * zeros > window:
            raise ValueError(f"{padding=}, but should be at most half of {kernel_size=}")


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


def describe_window(layer: Any) -> str:
    """Describe a layer's window: `7x7/2 pad 3`."""
    (height, width), (down, right), (top, left) = layer.kernel_size, layer.stride, layer.padding
    stride = f"{down}" if down == right else f"{down}x{right}"
    pad = f" pad {top}" if top == left else f" pad {top}x{left}"
    return f"{height}x{width}/{stride}" + (pad if (top, left) != (0, 0) else "")


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


def pad(
    x: Array, padding: tuple[int, int], value: float, after: tuple[int, int] | None = None
) -> Array:
    """Surround (N, C, H, W) with `value`: `padding` rows and columns, `after` at the end."""
    (top, left), (bottom, right) = padding, after or padding
    if (top, left, bottom, right) == (0, 0, 0, 0):
        return x
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def _adaptive_slices(size: int, windows: int) -> list[slice]:
    return [slice(i * size // windows, -(-(i + 1) * size // windows)) for i in range(windows)]


def windows_of(x: Array, kernel_size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """View (N, C, H, W) as its windows (N, C, H', W', kernel height, kernel width)."""
    if x.ndim != 4 or x.shape[2] < kernel_size[0] or x.shape[3] < kernel_size[1]:
        height, width = kernel_size
        raise ValueError(f"padded input {x.shape[2:]} is smaller than the {height}x{width} window")
    axes: Any = (2, 3)  # numpy's annotation lacks the tuple
    return sliding_window_view(x, kernel_size, axes)[:, :, :: stride[0], :: stride[1]]
