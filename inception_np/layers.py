"""Layers of the Inception family in NumPy: float64, forward only, the oracle.

Every layer is the formula of its docstring and nothing else, so that a reader
can check it against the mathematics. Arrays are (N, C, H, W) or (N, features).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Size = int | tuple[int, int]

BN_EPS = 1e-3  # of TF-slim's Inception networks; PyTorch's and Gluon's default is 1e-5


class Module:
    """A part of a network: named children, arrays, a `forward`, and hooks.

    Children and arrays are the attributes, in the order of assignment; dotted
    attribute paths are the shared names. A pre-hook may replace the inputs, a
    hook the output, by returning something other than None.
    """

    buffers: tuple[str, ...] = ()  # arrays that no gradient trains

    def __init__(self) -> None:
        self.pre_hooks: list[Callable[[Module, tuple[Any, ...]], Any]] = []
        self.hooks: list[Callable[[Module, tuple[Any, ...], Any], Any]] = []

    def forward(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any) -> Any:
        for pre_hook in self.pre_hooks:
            replaced = pre_hook(self, inputs)
            inputs = inputs if replaced is None else replaced
        output = self.forward(*inputs)
        for hook in self.hooks:
            replaced = hook(self, inputs, output)
            output = output if replaced is None else replaced
        return output

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield (attribute, module) for each direct child, in order."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted path, module) for this module and all below it."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def arrays(self) -> dict[str, Array]:
        """Return this module's own arrays, without those of its children."""
        return {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}

    def describe(self) -> str:
        """Return what this module is, in a few words, for reports."""
        return type(self).__name__


class Sequential(Module):
    """Modules applied one after the other; children are named 0, 1, 2, …"""

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        self.modules = modules

    def children(self) -> Iterator[tuple[str, Module]]:
        for index, module in enumerate(self.modules):
            yield str(index), module

    def forward(self, x: Any) -> Any:
        for module in self.modules:
            x = module(x)
        return x


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
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.weight = np.zeros((out_channels, in_channels, *self.kernel_size))
        self.bias = np.zeros(out_channels) if bias else None

    def forward(self, x: Array) -> Array:
        out_channels, in_channels = self.weight.shape[:2]
        if x.ndim != 4 or x.shape[1] != in_channels:
            raise ValueError(f"input shape {x.shape}, but should be (N, {in_channels}, H, W)")
        x = _pad(x, self.padding, 0.0)
        windows = _windows(x, self.kernel_size, self.stride)  # N, C, H, W, u, v
        n, _, height, width = windows.shape[:4]
        kernel = self.weight.reshape(out_channels, -1)
        y = np.empty((n, out_channels, height, width), self.weight.dtype)
        for image, out in zip(windows, y, strict=True):  # one by one: patches are large
            patches = image.transpose(0, 3, 4, 1, 2).reshape(kernel.shape[1], -1)
            np.matmul(kernel, patches, out=out.reshape(out_channels, -1))
        if self.bias is not None:
            y += self.bias[:, None, None]
        return y

    def describe(self) -> str:
        return f"conv {_window(self)}"


class BatchNorm2d(Module):
    """Batch normalisation with running statistics.

    y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, per channel
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = np.ones(channels)
        self.bias = np.zeros(channels)
        self.running_mean = np.zeros(channels)
        self.running_var = np.ones(channels)

    def forward(self, x: Array) -> Array:
        scale = self.weight / np.sqrt(self.running_var + self.eps)
        shifted = x - self.running_mean[:, None, None]
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
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias)
        self.norm = BatchNorm2d(out_channels, bn_eps) if batch_norm else None
        self.act = ReLU()

    def forward(self, x: Array) -> Array:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.act(x)

    def describe(self) -> str:
        return self.conv.describe()


class MaxPool(Module):
    """Largest value of each window; the padding is -infinity.

    Args:
        kernel_size: one number, or (height, width).
        stride: one number, or (height, width).
        padding: rows and columns on each side, one number or (height, width).

    Shape:
        (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - kernel) // stride + 1
    """

    def __init__(self, kernel_size: Size, stride: Size, padding: Size = 0) -> None:
        super().__init__()
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)

    def forward(self, x: Array) -> Array:
        x = _pad(x, self.padding, -np.inf)
        return _windows(x, self.kernel_size, self.stride).max(axis=(-2, -1))

    def describe(self) -> str:
        return f"max pool {_window(self)}"


class GlobalAvgPool(Module):
    """Mean over height and width: (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Array) -> Array:
        return x.mean(axis=(2, 3), keepdims=True)

    def describe(self) -> str:
        return "global average pool"


class Concat(Module):
    """Join along the channels: (N, C1, H, W), (N, C2, H, W), … -> (N, C1 + C2 + …, H, W)."""

    def forward(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=1)

    def describe(self) -> str:
        return "concatenation"


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
        return x @ self.weight.T + self.bias

    def describe(self) -> str:
        return "linear"


def require_positive(**counts: int) -> None:
    """Raise ValueError naming every count that is not a positive whole number."""
    wrong = [
        f"{name}={count!r}, but should be a positive whole number"
        for name, count in counts.items()
        if not isinstance(count, int) or isinstance(count, bool) or count < 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _window(layer: Any) -> str:
    """Write a layer's window: `7x7/2 pad 3`."""
    (height, width), (down, right), (top, left) = layer.kernel_size, layer.stride, layer.padding
    stride = f"{down}" if down == right else f"{down}x{right}"
    pad = f" pad {top}" if top == left else f" pad {top}x{left}"
    return f"{height}x{width}/{stride}" + (pad if (top, left) != (0, 0) else "")


def _pad(x: Array, padding: tuple[int, int], value: float) -> Array:
    top, left = padding
    if (top, left) == (0, 0):
        return x
    return np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=value)


def _windows(x: Array, kernel_size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """View (N, C, H, W) as its windows (N, C, H', W', kernel height, kernel width)."""
    if x.ndim != 4 or x.shape[2] < kernel_size[0] or x.shape[3] < kernel_size[1]:
        height, width = kernel_size
        raise ValueError(f"padded input {x.shape[2:]} is smaller than the {height}x{width} window")
    axes: Any = (2, 3)  # numpy's annotation lacks the tuple
    return sliding_window_view(x, kernel_size, axes)[:, :, :: stride[0], :: stride[1]]
