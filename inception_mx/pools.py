"""Pools in MXNet Gluon: its own where they are exact, and padding for ceil mode."""

from __future__ import annotations

from typing import Any

from ._mxnet import gluon, nn

Size = int | tuple[int, int]

GlobalAvgPool = nn.GlobalAvgPool2D  # (N, C, H, W) -> (N, C, 1, 1)


class MaxPool(nn.MaxPool2D):
    """Largest value of each window; the padding is -infinity.

    MXNet's own ceil mode refuses some small inputs and keeps windows that lie in
    the padding alone, so the padding at the end is computed here.

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
        MXNetError: the input is too small for one window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size, padding: Size = 0, ceil_mode: bool = False
    ) -> None:
        require_half(kernel_size, padding)
        super().__init__(pair(kernel_size), pair(stride), pair(padding))
        after = _padding_after(pair(kernel_size), pair(stride), pair(padding), ceil_mode)
        self._beyond = tuple(a - p for a, p in zip(after, pair(padding), strict=True))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        down, right = self._beyond
        if down:
            edge = F.np.full_like(x[:, :, :1], -float("inf"))
            x = F.np.concatenate((x, *[edge] * down), axis=2)
        if right:
            edge = F.np.full_like(x[:, :, :, :1], -float("inf"))
            x = F.np.concatenate((x, *[edge] * right), axis=3)
        return super().hybrid_forward(F, x)


class AvgPool(nn.AvgPool2D):
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
        MXNetError: the input is too small for one window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size, padding: Size = 0, *, count_include_pad: bool
    ) -> None:
        require_half(kernel_size, padding)
        super().__init__(
            pair(kernel_size), pair(stride), pair(padding), count_include_pad=count_include_pad
        )


class AdaptiveAvgPool(gluon.HybridBlock):
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

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        # An operator of the older interface, which has its own array type.
        y = F.contrib.AdaptiveAvgPooling2D(x.as_nd_ndarray(), output_size=self.output_size)
        return y.as_np_ndarray()


def require_half(kernel_size: Size, padding: Size) -> None:
    """Raise ValueError if a window could lie in the padding alone."""
    for window, zeros in zip(pair(kernel_size), pair(padding), strict=True):
        if 2 * zeros > window:
            raise ValueError(f"{padding=}, but should be at most half of {kernel_size=}")


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


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
