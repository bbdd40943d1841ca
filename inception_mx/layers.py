"""Layers of the Inception family in MXNet Gluon. Arrays are (N, C, H, W).

Parameters need `initialize()` before they can be set or used, as in Gluon
everywhere; for float64, `cast("float64")` after that.
"""

from __future__ import annotations

from typing import Any

from ._mxnet import gluon, nn

Size = int | tuple[int, int]

BN_EPS = 1e-3  # of TF-slim's Inception networks; Gluon's own default is 1e-5
BN_MOMENTUM = 0.9  # weight of the old statistics; PyTorch states the new batch's, 0.1

# Native as they are.
Flatten = nn.Flatten  # (N, C, H, W) -> (N, C * H * W), in the order C, H, W
GlobalAvgPool = nn.GlobalAvgPool2D  # (N, C, H, W) -> (N, C, 1, 1)


class Sequential(nn.HybridSequential):
    """Blocks applied one after the other; children are named 0, 1, 2, …"""

    def __init__(self, *blocks: gluon.HybridBlock) -> None:
        super().__init__()
        self.add(*blocks)


class ConvBlock(gluon.HybridBlock):
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
        self.conv = nn.Conv2D(
            out_channels, kernel_size, stride, padding, use_bias=bias, in_channels=in_channels
        )
        self.norm = (
            nn.BatchNorm(epsilon=bn_eps, momentum=BN_MOMENTUM, in_channels=out_channels)
            if batch_norm
            else None
        )
        self.act = nn.Activation("relu")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.act(x)


class MaxPool(nn.MaxPool2D):
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


class Concat(gluon.HybridBlock):
    """Join along the channels: (N, C1, H, W), (N, C2, H, W), … -> (N, C1 + C2 + …, H, W)."""

    def hybrid_forward(self, F: Any, *xs: Any) -> Any:
        return F.np.concatenate(xs, axis=1)


class Linear(nn.Dense):
    """y = x weight^T + bias: (N, in_features) -> (N, out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        require_positive(in_features=in_features, out_features=out_features)
        super().__init__(out_features, in_units=in_features)


def require_positive(**counts: int) -> None:
    """Raise ValueError naming every count that is not a positive whole number."""
    wrong = [
        f"{name}={count!r}, but should be a positive whole number"
        for name, count in counts.items()
        if not isinstance(count, int) or isinstance(count, bool) or count < 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
