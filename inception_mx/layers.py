"""Layers of the Inception family in MXNet Gluon. Arrays are (N, C, H, W).

As everywhere in Gluon, parameters need `initialize()` before they can be set or
used; for float64, `cast("float64")` after that.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from ._mxnet import gluon, mxnet, nn
from .pools import Size, pair

BN_EPS = 1e-3  # as in TF-slim's Inception networks; Gluon's own default is 1e-5
BN_MOMENTUM = 0.9  # weight of the old statistics; PyTorch gives that of the new batch, 0.1

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue, as in torchvision
IMAGENET_STD = (0.229, 0.224, 0.225)

# Used unchanged.
Dropout = nn.Dropout
Flatten = nn.Flatten  # (N, C, H, W) -> (N, C * H * W), in the order C, H, W


class Sequential(nn.HybridSequential):
    """Blocks applied one after the other; children are named 0, 1, 2, …"""

    def __init__(self, *blocks: gluon.HybridBlock) -> None:
        super().__init__()
        self.add(*blocks)


class HeadedBlock(gluon.HybridBlock):
    """A network with auxiliary heads, which run in training or with `return_aux`.

    Gluon traces a hybridized block once, for training and inference alike. This
    one is traced again whenever the heads are switched on or off.
    """

    return_aux = False

    def __init__(self) -> None:
        super().__init__()
        self._traced_with_heads = False

    def heads_run(self) -> bool:
        """Return whether the heads should run now."""
        return self.return_aux or mxnet.autograd.is_training()

    def forward(self, x: Any, *args: Any) -> Any:
        if self.heads_run() != self._traced_with_heads:
            self._traced_with_heads = self.heads_run()
            self._clear_cached_op()
        output = super().forward(x, *args)
        return tuple(output) if isinstance(output, list) else output  # a traced tuple is a list

    def _build_cache(self, *args: Any) -> None:
        with warnings.catch_warnings():
            # Gluon warns about the parameters of heads that don't run.
            warnings.filterwarnings("ignore", "Parameter .* is not used by any computation")
            super()._build_cache(*args)


class Conv2d(nn.Conv2D):
    """Gluon's convolution, with the arguments of the sister packages."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(
            out_channels, kernel_size, stride, padding, use_bias=bias, in_channels=in_channels
        )


class ReLU(nn.Activation):
    """y = max(x, 0)"""

    def __init__(self) -> None:
        super().__init__("relu")


class ConvBlock(gluon.HybridBlock):
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
        self.norm = (
            nn.BatchNorm(
                epsilon=bn_eps, momentum=BN_MOMENTUM, scale=bn_scale, in_channels=out_channels
            )
            if batch_norm
            else None
        )
        self.act = ReLU() if activation else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class LocalResponseNorm(gluon.HybridBlock):
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

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        # MXNet's own operator has no float64 kernel; with channels as depth, it is a pool.
        squares = F.np.expand_dims(F.np.square(x), 1)
        mean = F.npx.pooling(
            squares,
            kernel=(self.size, 1, 1),
            stride=(1, 1, 1),
            pad=(self.size // 2, 0, 0),
            pool_type="avg",
            count_include_pad=True,
        )
        mean = F.np.squeeze(mean, 1)
        if self.size % 2 == 0:  # one window more than there are channels
            mean = mean[:, :-1]
        return x / (self.k + self.alpha * mean) ** self.beta


class TransformInput(gluon.HybridBlock):
    """Turns torchvision's normalisation into TensorFlow's: per channel, y = scale x + shift.

    torchvision's images are (p - mean) / std of ImageNet, for p in 0 … 1;
    TensorFlow's networks were trained on (p - 1/2) / (1/2).

    Shape:
        (N, 3, H, W) -> the same
    """

    scale = tuple(std / 0.5 for std in IMAGENET_STD)
    shift = tuple((mean - 0.5) / 0.5 for mean in IMAGENET_MEAN)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        channels = [x[:, i : i + 1] for i in range(3)]
        rows = zip(channels, self.scale, self.shift, strict=True)
        return F.np.concatenate([x * scale + shift for x, scale, shift in rows], axis=1)


class Resize(gluon.HybridBlock):
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
        self._dtype = "float32"  # of the images; a traced graph can't ask them

    def cast(self, dtype: Any) -> None:
        super().cast(dtype)
        self._dtype = dtype

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        rows = self.weights_of(F, self.size[0], x[:1, :1, :, :1])
        columns = self.weights_of(F, self.size[1], x[:1, :1, :1])
        return F.np.matmul(F.np.matmul(rows, x), columns.T)

    def weights_of(self, F: Any, size: int, pixels: Any) -> Any:
        """Return the weight of each of `pixels`, on one axis, in each of `size`."""
        i, u = F.np.arange(size, dtype="float64"), pixels.reshape(-1).astype("float64")
        u = F.npx.arange_like(u, axis=0)
        have = u[-1:] + 1
        source, unit = (2 * i + 1) * have - size, 2 * size
        if not self.half_pixel_centres:
            source, unit = i * have, size
        # In units, of which a pixel has `unit`.
        source = F.np.maximum(F.np.minimum(source, (have - 1) * unit), 0)
        distance = F.np.abs(F.np.expand_dims(source, 1) - F.np.expand_dims(u * unit, 0))
        return (F.np.maximum(unit - distance, 0) / unit).astype(self._dtype)


class Rescale(gluon.HybridBlock):
    """y = scale x + shift, with one number each for all channels."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return x * self.scale + self.shift


class Concat(gluon.HybridBlock):
    """Join along the channels: (N, C1, H, W), (N, C2, H, W), … -> (N, C1 + C2 + …, H, W)."""

    def hybrid_forward(self, F: Any, *xs: Any) -> Any:
        return F.np.concatenate(xs, axis=1)


class ScaledAdd(gluon.HybridBlock):
    """Add a residual to its shortcut: y = shortcut + scale * residual.

    Args:
        scale: factor of the residual; 1 is a plain addition.

    Shape:
        (N, C, H, W), (N, C, H, W) -> the same
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def hybrid_forward(self, F: Any, shortcut: Any, residual: Any) -> Any:
        return shortcut + self.scale * residual


class Linear(nn.Dense):
    """y = x weight^T + bias: (N, in_features) -> (N, out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        require_positive(in_features=in_features, out_features=out_features)
        super().__init__(out_features, in_units=in_features)


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
