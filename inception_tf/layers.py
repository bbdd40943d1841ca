"""Layers of the Inception family in Keras 3. Arrays are (N, H, W, C).

Shape comments are C x H x W as in the sister packages. Every layer is built in
its constructor, where the channels are known: a network has its weights from
the start, and refuses an input with a different number of channels.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import KerasTensor, layers, ops

from ._graph import Block
from .pools import Size, pad, pair

BN_EPS = 1e-3  # as in TF-slim's Inception networks, and Keras' own default
BN_MOMENTUM = 0.9  # weight of the old statistics; PyTorch gives that of the new batch, 0.1

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue, as in torchvision
IMAGENET_STD = (0.229, 0.224, 0.225)

# Used unchanged.
Dropout = layers.Dropout
ReLU = layers.ReLU


class Sequential(Block):
    """Layers applied one after the other; children are named 0, 1, 2, …"""

    def __init__(self, *children: layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = list(children)

    def call(self, x: KerasTensor) -> KerasTensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Conv2d(layers.Conv2D):
    """Keras' convolution with explicit zeros on each side, never `same`.

    TensorFlow's `same` pads the end more than the beginning where a stride-2
    window needs an odd number of zeros, that is, on even sizes.
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
        super().__init__(out_channels, kernel_size, stride, padding="valid", use_bias=bias)
        self.zeros = pair(padding)
        self.build((None, None, None, in_channels))

    def call(self, x: KerasTensor) -> KerasTensor:
        return super().call(pad(x, self.zeros, 0.0))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        n, height, width, channels = input_shape
        top, left = self.zeros
        height = None if height is None else height + 2 * top
        width = None if width is None else width + 2 * left
        return super().compute_output_shape((n, height, width, channels))


class ConvBlock(Block):
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
        input:  (N, H, W, in_channels)
        output: (N, H', W', out_channels), H' = (H + 2 padding - kernel) // stride + 1

    Raises:
        ValueError: a channel count is not positive, or the input has other channels.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_positive(in_channels=in_channels, out_channels=out_channels)
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias)
        self.norm = (
            layers.BatchNormalization(epsilon=bn_eps, momentum=BN_MOMENTUM, scale=bn_scale)
            if batch_norm
            else None
        )
        if self.norm is not None:
            self.norm.build((None, None, None, out_channels))
        self.act = ReLU() if activation else None

    def call(self, x: KerasTensor) -> KerasTensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class LocalResponseNorm(layers.Layer):
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
        (N, H, W, C) -> the same
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_positive(size=size)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def call(self, x: KerasTensor) -> KerasTensor:
        # TensorFlow's own operator has no float64 kernel.
        before, after = self.size // 2, (self.size - 1) // 2
        squares = ops.pad(ops.square(x), ((0, 0), (0, 0), (0, 0), (before, after)))
        total = sum(squares[..., i : i + x.shape[-1]] for i in range(self.size))
        return x / (self.k + self.alpha / self.size * total) ** self.beta


class TransformInput(layers.Layer):
    """Turns torchvision's normalisation into TensorFlow's: per channel, y = scale x + shift.

    torchvision's images are (p - mean) / std of ImageNet, for p in 0 … 1;
    TensorFlow's networks were trained on (p - 1/2) / (1/2).

    Shape:
        (N, H, W, 3) -> the same
    """

    scale = tuple(std / 0.5 for std in IMAGENET_STD)
    shift = tuple((mean - 0.5) / 0.5 for mean in IMAGENET_MEAN)

    def call(self, x: KerasTensor) -> KerasTensor:
        scale = ops.convert_to_tensor(self.scale, x.dtype)
        return x * scale + ops.convert_to_tensor(self.shift, x.dtype)


class Resize(layers.Layer):
    """Bilinear interpolation to a fixed size, without antialiasing.

    y[i, j] = sum over u, v of rows[i, u] columns[j, v] x[u, v], where rows[i, u] =
    max(1 - |s - u|, 0) for the source s = i H / H', as in TensorFlow 1; with half-pixel
    centres s = (i + 1/2) H / H' - 1/2, as in PyTorch and TensorFlow 2. A source beyond the
    first or last pixel is moved there. Weights are quotients of whole numbers.

    Args:
        size: of the output, one number or (height, width).
        half_pixel_centres: whether the centre of a pixel, not its corner, is its position.

    Shape:
        (N, H, W, C) -> (N, *size, C)
    """

    def __init__(self, size: Size, half_pixel_centres: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = pair(size)
        self.half_pixel_centres = half_pixel_centres

    def call(self, x: KerasTensor) -> KerasTensor:
        _, height, width, _ = ops.shape(x)  # numbers where known, tensors otherwise
        rows = ops.cast(self.weights_of(self.size[0], height), x.dtype)
        columns = ops.cast(self.weights_of(self.size[1], width), x.dtype)
        return ops.einsum("jv,nivc->nijc", columns, ops.einsum("iu,nuvc->nivc", rows, x))

    def weights_of(self, size: int, have: Any) -> KerasTensor:
        """Return the weight of each of `have` pixels in each of `size`."""
        i, u = ops.arange(size, dtype="float64"), ops.arange(have, dtype="float64")
        have = ops.cast(have, "float64")
        source, unit = (2 * i + 1) * have - size, 2 * size
        if not self.half_pixel_centres:
            source, unit = i * have, size
        source = ops.clip(source, 0, (have - 1) * unit)  # in units, of which a pixel has `unit`
        return ops.maximum(unit - ops.abs(source[:, None] - u * unit), 0) / unit


class Rescale(layers.Layer):
    """y = scale x + shift, with one number each for all channels."""

    def __init__(self, scale: float, shift: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.shift = shift

    def call(self, x: KerasTensor) -> KerasTensor:
        return x * self.scale + self.shift


class Concat(layers.Layer):
    """Join along the channels: (N, H, W, C1), (N, H, W, C2), … -> (N, H, W, C1 + C2 + …)."""

    def call(self, *xs: KerasTensor) -> KerasTensor:
        return ops.concatenate(xs, axis=-1)


class ScaledAdd(layers.Layer):
    """Add a residual to its shortcut: y = shortcut + scale * residual.

    Args:
        scale: factor of the residual; 1 is a plain addition.

    Shape:
        (N, H, W, C), (N, H, W, C) -> the same
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, shortcut: KerasTensor, residual: KerasTensor) -> KerasTensor:
        return shortcut + self.scale * residual


class Flatten(layers.Layer):
    """(N, H, W, C) -> (N, C * H * W), in the order C, H, W.

    Keras' own layer flattens in the order H, W, C; with this one a dense
    kernel after it has the same meaning in every framework.
    """

    def call(self, x: KerasTensor) -> KerasTensor:
        _, height, width, channels = ops.shape(x)  # numbers where known, tensors otherwise
        return ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, channels * height * width))


class Linear(layers.Dense):
    """y = x kernel + bias: (N, in_features) -> (N, out_features)."""

    def __init__(self, in_features: int, out_features: int, **kwargs: Any) -> None:
        require_positive(in_features=in_features, out_features=out_features)
        super().__init__(out_features, **kwargs)
        self.build((None, in_features))


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
