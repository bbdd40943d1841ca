"""Layers of the Inception family in NumPy: float64, forward only, the oracle.

Every layer is the formula of its docstring and nothing else, so that a reader
can check it against the mathematics. Arrays are (N, C, H, W) or (N, features).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .module import Array, Module, Sequential
from .pools import Size, describe_window, pad, pair, windows_of

__all__ = [
    "BN_EPS",
    "BN_MOMENTUM",
    "Array",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "ConvBlock",
    "Dropout",
    "Flatten",
    "Linear",
    "LocalResponseNorm",
    "Module",
    "ReLU",
    "Rescale",
    "Resize",
    "ScaledAdd",
    "Sequential",
    "TransformInput",
    "conv_norm_act",
    "require_classes",
    "require_heads",
    "require_positive",
]

BN_EPS = 1e-3  # as in TF-slim's Inception networks; PyTorch's and Gluon's default is 1e-5
BN_MOMENTUM = 0.9  # weight of the old statistics; PyTorch gives that of the new batch, 0.1

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue, as in torchvision
IMAGENET_STD = (0.229, 0.224, 0.225)


class Conv2d(Module):
    """Convolution (cross-correlation) with zero padding.

    y[n,o,i,j] = bias[o] + sum over c,u,v of
                 weight[o,c,u,v] * x[n,c, i*stride + u - padding, j*stride + v - padding]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.weight = np.zeros((out_channels, in_channels, *self.kernel_size))
        self.bias = np.zeros(out_channels) if bias else None

    def forward(self, x: Array) -> Array:
        out_channels, in_channels = self.weight.shape[:2]
        if x.ndim != 4 or x.shape[1] != in_channels:
            raise ValueError(f"input shape {x.shape}, but should be (N, {in_channels}, H, W)")
        x = pad(x, self.padding, 0.0)
        windows = windows_of(x, self.kernel_size, self.stride)  # N, C, H, W, u, v
        n, _, height, width = windows.shape[:4]
        kernel = self.weight.reshape(out_channels, -1)
        y = np.empty((n, out_channels, height, width), np.result_type(x, self.weight))
        for image, out in zip(windows, y, strict=True):  # image by image, since patches are large
            patches = image.transpose(0, 3, 4, 1, 2).reshape(kernel.shape[1], -1)
            np.matmul(kernel, patches, out=out.reshape(out_channels, -1))
        if self.bias is not None:
            y += self.bias[:, None, None]
        return y

    def describe(self) -> str:
        return f"conv {describe_window(self)}"


class BatchNorm2d(Module):
    """Batch normalisation with running statistics.

    y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, per channel;
    without `scale`, weight is 1 and isn't one of the network's arrays.

    In training, mean and variance are the batch's own, over n = N H W values, and
    running <- momentum running + (1 - momentum) batch. The variance is the mean
    square (/ n) here and in Keras and MXNet; PyTorch's running_var uses
    / (n - 1) instead. If it is `frozen`, training is no different from inference.
    """

    buffers = ("running_mean", "running_var")
    frozen = False

    def __init__(self, channels: int, eps: float, scale: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = np.ones(channels) if scale else None
        self.bias = np.zeros(channels)
        self.running_mean = np.zeros(channels)
        self.running_var = np.ones(channels)

    def forward(self, x: Array) -> Array:
        mean, var = self.running_mean, self.running_var
        if self.training and not self.frozen:
            mean = x.mean(axis=(0, 2, 3))
            var = ((x - mean[:, None, None]) ** 2).mean(axis=(0, 2, 3))
            for running, batch in ((self.running_mean, mean), (self.running_var, var)):
                running[...] = BN_MOMENTUM * running + (1.0 - BN_MOMENTUM) * batch
        weight = 1.0 if self.weight is None else self.weight
        scale = weight / np.sqrt(var + self.eps)
        shifted = x - mean[:, None, None]
        return shifted * scale[:, None, None] + self.bias[:, None, None]

    def describe(self) -> str:
        return "batch norm"


class ReLU(Module):
    """y = max(x, 0)"""

    def forward(self, x: Array) -> Array:
        return np.maximum(x, 0.0)

    def describe(self) -> str:
        return "ReLU"


class ConvBlock(Module):
    """Convolution, optional batch norm, optional ReLU: children `conv`, `norm`, `act`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: zeros on each side, one number or (height, width).
        bias: whether the convolution has a bias.
        batch_norm: whether there is batch norm after the convolution.
        bn_eps: added to the variance in batch norm.
        bn_scale: whether batch norm has a weight; without one there is no `norm.weight`.
        activation: whether there is a ReLU at the end.

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
        bn_scale: bool = True,
        activation: bool = True,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, out_channels=out_channels)
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias)
        self.norm = BatchNorm2d(out_channels, bn_eps, bn_scale) if batch_norm else None
        self.act = ReLU() if activation else None

    def forward(self, x: Array) -> Array:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)

    def describe(self) -> str:
        return self.conv.describe()


class LocalResponseNorm(Module):
    """Local response normalisation over neighbouring channels.

    y[c] = x[c] / (k + alpha / size * sum of x[c']^2)^beta, where c' runs over the
    `size` channels from c - size // 2 on, where those exist.

    Args:
        size: number of channels in a sum.
        alpha: factor of their mean of squares (zeros outside): the sum is divided by
            size, as in PyTorch and Caffe; TensorFlow's alpha is this alpha / size.
        beta: the exponent.
        k: added to the mean of squares; called bias in TensorFlow.

    Shape:
        (N, C, H, W) -> the same
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        require_positive(size=size)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Array) -> Array:
        before, after = self.size // 2, (self.size - 1) // 2
        squares = np.pad(x**2, ((0, 0), (before, after), (0, 0), (0, 0)))
        axis: Any = 1  # numpy's annotation lacks the number
        total = sliding_window_view(squares, self.size, axis).sum(axis=-1)
        return x / (self.k + self.alpha / self.size * total) ** self.beta

    def describe(self) -> str:
        return f"local response norm over {self.size}"


class TransformInput(Module):
    """Turns torchvision's normalisation into TensorFlow's: per channel, y = scale x + shift.

    torchvision's images are (p - mean) / std of ImageNet, for p in 0 … 1;
    TensorFlow's networks were trained on (p - 1/2) / (1/2).

    Shape:
        (N, 3, H, W) -> the same
    """

    scale = tuple(std / 0.5 for std in IMAGENET_STD)
    shift = tuple((mean - 0.5) / 0.5 for mean in IMAGENET_MEAN)

    def forward(self, x: Array) -> Array:
        return x * np.reshape(self.scale, (3, 1, 1)) + np.reshape(self.shift, (3, 1, 1))

    def describe(self) -> str:
        return "input transform"


class Resize(Module):
    """Bilinear interpolation to a fixed size, without antialiasing.

    y[i, j] = sum over u, v of rows[i, u] columns[j, v] x[u, v], where rows[i, u] =
    max(1 - |s - u|, 0) for the source s = i H / H', as in TensorFlow 1; with half-pixel
    centres s = (i + 1/2) H / H' - 1/2, as in PyTorch and TensorFlow 2. A source beyond the
    first or last pixel is moved there. Weights are quotients of whole numbers.

    Args:
        size: of the output, one number or (height, width).
        half_pixel_centres: whether the centre of a pixel, not its corner, is its position.

    Shape:
        (N, C, H, W) -> (N, C, *size)
    """

    def __init__(self, size: Size, half_pixel_centres: bool = False) -> None:
        super().__init__()
        self.size = pair(size)
        self.half_pixel_centres = half_pixel_centres

    def forward(self, x: Array) -> Array:
        rows = self.weights_of(self.size[0], x.shape[2])
        columns = self.weights_of(self.size[1], x.shape[3])
        return rows @ x @ columns.T

    def weights_of(self, size: int, have: int) -> Array:
        """Return the weight of each of `have` pixels in each of `size`."""
        i, u = np.arange(size), np.arange(have)
        source, unit = (2 * i + 1) * have - size, 2 * size
        if not self.half_pixel_centres:
            source, unit = i * have, size
        source = np.clip(source, 0, (have - 1) * unit)  # in units, of which a pixel has `unit`
        return np.maximum(unit - np.abs(source[:, None] - u * unit), 0) / unit

    def describe(self) -> str:
        return "bilinear resize to {}x{}".format(*self.size)


class Rescale(Module):
    """y = scale x + shift, with one number each for all channels."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, x: Array) -> Array:
        return x * self.scale + self.shift

    def describe(self) -> str:
        return f"rescale {self.scale:g} x {self.shift:+g}"


class Dropout(Module):
    """Zeroes values with probability p in training, and divides the others by 1 - p.

    Each framework draws different masks; the oracle draws none. In training it is
    given `draw`, a function that maps the shape to the factors, each 0 or
    1 / (1 - p).
    """

    draw: Callable[[tuple[int, ...]], Array] | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Array) -> Array:
        if not self.training:
            return x
        if self.draw is None:
            raise ValueError("dropout in training, but no `draw` is given")
        return x * self.draw(x.shape)

    def describe(self) -> str:
        return f"dropout {self.p:g}"


class Concat(Module):
    """Join along the channels: (N, C1, H, W), (N, C2, H, W), … -> (N, C1 + C2 + …, H, W)."""

    def forward(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=1)

    def describe(self) -> str:
        return "concatenation"


class ScaledAdd(Module):
    """Add a residual to its shortcut: y = shortcut + scale * residual.

    Args:
        scale: factor of the residual; 1 is a plain addition.

    Shape:
        (N, C, H, W), (N, C, H, W) -> the same
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, shortcut: Array, residual: Array) -> Array:
        return shortcut + self.scale * residual

    def describe(self) -> str:
        return "addition" if self.scale == 1 else f"addition scaled by {self.scale:g}"


class Flatten(Module):
    """(N, C, H, W) -> (N, C * H * W), in the order C, H, W."""

    def forward(self, x: Array) -> Array:
        return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))

    def describe(self) -> str:
        return "flatten"


class Linear(Module):
    """y = x weight^T + bias: (N, in_features) -> (N, out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        require_positive(in_features=in_features, out_features=out_features)
        self.weight = np.zeros((out_features, in_features))
        self.bias = np.zeros(out_features)

    def forward(self, x: Array) -> Array:
        if x.ndim != 2 or x.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"input shape {x.shape}, but should be (N, {self.weight.shape[1]}) [linear]"
            )
        return x @ self.weight.T + self.bias

    def describe(self) -> str:
        return "linear"


def conv_norm_act(bn_scale: bool, bn_eps: float) -> partial[ConvBlock]:
    """Return `ConvBlock` with batch norm and without bias, to be given its channels."""
    return partial(ConvBlock, bias=False, batch_norm=True, bn_eps=bn_eps, bn_scale=bn_scale)


def require_positive(**counts: int) -> None:
    """Raise ValueError naming every count that is not a positive whole number."""
    wrong = [
        f"{name}={count!r}, but should be a positive whole number"
        for name, count in counts.items()
        if not isinstance(count, int) or isinstance(count, bool) or count < 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def require_classes(num_classes: int, use_aux: bool = False) -> None:
    """Raise ValueError unless `num_classes` is positive, or 0 in a network without heads."""
    if num_classes != 0 or isinstance(num_classes, bool):
        require_positive(num_classes=num_classes)
    elif use_aux:
        raise ValueError("use_aux=True, but should be False with num_classes=0")


def require_heads(use_aux: bool, return_aux: bool) -> None:
    """Raise ValueError if the outputs of missing heads are asked for."""
    if return_aux and not use_aux:
        raise ValueError("return_aux=True, but should be False with use_aux=False")
