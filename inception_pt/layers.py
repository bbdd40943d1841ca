"""Layers of the Inception family in PyTorch. Arrays are (N, C, H, W)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pools import Size, pair

BN_EPS = 1e-3  # as in TF-slim's Inception networks; PyTorch's own default is 1e-5
BN_MOMENTUM = 0.1  # weight of the new batch; Keras and MXNet give that of the old statistics, 0.9

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue, as in torchvision
IMAGENET_STD = (0.229, 0.224, 0.225)

# Used unchanged; children of Sequential are named 0, 1, 2, …
Conv2d = nn.Conv2d
Dropout = nn.Dropout
Flatten = nn.Flatten  # (N, C, H, W) -> (N, C * H * W), in the order C, H, W
Linear = nn.Linear
ReLU = nn.ReLU
Sequential = nn.Sequential


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that is always in evaluation mode while it is `frozen`."""

    frozen = False

    def train(self, mode: bool = True) -> BatchNorm2d:
        return super().train(mode and not self.frozen)


class ConvBlock(nn.Module):
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
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.norm = (
            BatchNorm2d(out_channels, eps=bn_eps, momentum=BN_MOMENTUM) if batch_norm else None
        )
        if self.norm is not None and not bn_scale:
            self.norm.register_parameter("weight", None)
        self.act = ReLU() if activation else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class LocalResponseNorm(nn.LocalResponseNorm):
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
        require_positive(size=size)
        super().__init__(size, alpha, beta, k)

    def forward(self, x: Tensor) -> Tensor:
        # In float32 at least: on CPUs PyTorch has no such mean for narrower dtypes.
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        y = F.local_response_norm(wide, self.size, self.alpha, self.beta, self.k)
        return y.to(x.dtype)


class TransformInput(nn.Module):
    """Turns torchvision's normalisation into TensorFlow's: per channel, y = scale x + shift.

    torchvision's images are (p - mean) / std of ImageNet, for p in 0 … 1;
    TensorFlow's networks were trained on (p - 1/2) / (1/2).

    Shape:
        (N, 3, H, W) -> the same
    """

    def __init__(self) -> None:
        super().__init__()
        # Not buffers: those would be rounded to the network's first dtype.
        self.scale = [std / 0.5 for std in IMAGENET_STD]
        self.shift = [(mean - 0.5) / 0.5 for mean in IMAGENET_MEAN]

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.tensor(self.scale, dtype=x.dtype, device=x.device)
        shift = torch.tensor(self.shift, dtype=x.dtype, device=x.device)
        return x * scale[:, None, None] + shift[:, None, None]


class Resize(nn.Module):
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

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weights_of(self.size[0], x.shape[2], x)
        columns = self.weights_of(self.size[1], x.shape[3], x)
        return rows @ x @ columns.T

    def weights_of(self, size: int, have: int, like: Tensor) -> Tensor:
        """Return the weight of each of `have` pixels in each of `size`."""
        i = torch.arange(size, dtype=torch.float64, device=like.device)
        u = torch.arange(have, dtype=torch.float64, device=like.device)
        source, unit = (2 * i + 1) * have - size, 2 * size
        if not self.half_pixel_centres:
            source, unit = i * have, size
        source = source.clamp(0, (have - 1) * unit)  # in units, of which a pixel has `unit`
        weights = (unit - (source[:, None] - u * unit).abs()).clamp(min=0) / unit
        return weights.to(like.dtype)


class Rescale(nn.Module):
    """y = scale x + shift, with one number each for all channels."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Concat(nn.Module):
    """Join along the channels: (N, C1, H, W), (N, C2, H, W), … -> (N, C1 + C2 + …, H, W)."""

    def forward(
        self, x1: Tensor, x2: Tensor, x3: Tensor | None = None, x4: Tensor | None = None
    ) -> Tensor:
        xs = [x1, x2]  # TorchScript doesn't support *xs
        if x3 is not None:
            xs.append(x3)
        if x4 is not None:
            xs.append(x4)
        return torch.cat(xs, dim=1)


class ScaledAdd(nn.Module):
    """Add a residual to its shortcut: y = shortcut + scale * residual.

    Args:
        scale: factor of the residual; 1 is a plain addition.

    Shape:
        (N, C, H, W), (N, C, H, W) -> the same
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        return shortcut + self.scale * residual


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
