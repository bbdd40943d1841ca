"""Layers of the Inception family in PyTorch. Arrays are (N, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Size = int | tuple[int, int]

BN_EPS = 1e-3  # of TF-slim's Inception networks; PyTorch's own default is 1e-5
BN_MOMENTUM = 0.1  # weight of the new batch; Keras and MXNet state the old one's, 0.9

# Native as they are: children of Sequential are named 0, 1, 2, …
Flatten = nn.Flatten  # (N, C, H, W) -> (N, C * H * W), in the order C, H, W
Linear = nn.Linear
Sequential = nn.Sequential


class ConvBlock(nn.Module):
    """Convolution, batch norm if asked for, ReLU: children `conv`, `norm`, `act`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: zeros on each side, one number or (height, width).
        bias: whether the convolution has a bias.
        batch_norm: whether batch norm stands between convolution and ReLU.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, out_channels, H', W'), H' = (H + 2 padding - kernel) // stride + 1

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        *,
        bias: bool = True,
        batch_norm: bool = False,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, out_channels=out_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.norm = (
            nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=BN_MOMENTUM) if batch_norm else None
        )
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.act(x)


class MaxPool(nn.MaxPool2d):
    """Largest value of each window; the padding is -infinity.

    Args:
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: rows and columns on each side, one number or (height, width).

    Shape:
        (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - kernel) // stride + 1
    """

    def __init__(self, kernel_size: Size, stride: Size, padding: Size = 0) -> None:
        super().__init__(kernel_size, stride, padding)


class GlobalAvgPool(nn.AdaptiveAvgPool2d):
    """Mean over height and width: (N, C, H, W) -> (N, C, 1, 1)."""

    def __init__(self) -> None:
        super().__init__(1)


class Concat(nn.Module):
    """Join along the channels: (N, C1, H, W), (N, C2, H, W), … -> (N, C1 + C2 + …, H, W)."""

    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, dim=1)


def require_positive(**counts: int) -> None:
    """Raise ValueError naming every count that is not a positive whole number."""
    wrong = [
        f"{name}={count!r}, but should be a positive whole number"
        for name, count in counts.items()
        if not isinstance(count, int) or isinstance(count, bool) or count < 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
