"""Pools in PyTorch: its own, with the arguments of the sister packages."""

from __future__ import annotations

from torch import nn

Size = int | tuple[int, int]

AdaptiveAvgPool = nn.AdaptiveAvgPool2d  # (N, C, H, W) -> (N, C, *output_size)


class MaxPool(nn.MaxPool2d):
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
        ValueError: the padding is more than half the window.
        RuntimeError: the input is too small for one window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size, padding: Size = 0, ceil_mode: bool = False
    ) -> None:
        require_half(kernel_size, padding)
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)


class AvgPool(nn.AvgPool2d):
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
        ValueError: the padding is more than half the window.
        RuntimeError: the input is too small for one window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size, padding: Size = 0, *, count_include_pad: bool
    ) -> None:
        require_half(kernel_size, padding)
        super().__init__(kernel_size, stride, padding, count_include_pad=count_include_pad)


class GlobalAvgPool(nn.AdaptiveAvgPool2d):
    """Mean over height and width: (N, C, H, W) -> (N, C, 1, 1)."""

    def __init__(self) -> None:
        super().__init__(1)


def require_half(kernel_size: Size, padding: Size) -> None:
    """Raise ValueError if a window could lie in the padding alone."""
    for window, zeros in zip(pair(kernel_size), pair(padding), strict=True):
        if 2 * zeros > window:
            raise ValueError(f"{padding=}, but should be at most half of {kernel_size=}")


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size
