"""BN-Inception, with the names of its Caffe model."""

from __future__ import annotations

from functools import partial

from .layers import (
    Array,
    Concat,
    ConvBlock,
    Flatten,
    Linear,
    Module,
    require_classes,
    require_positive,
)
from .network import Network
from .pools import AvgPool, GlobalAvgPool, MaxPool

BN_EPS = 1e-5  # the same in the Caffe model and MXNet's; TF-slim has 1e-3


class BNInceptionBlock(Module):
    """Four parallel branches, with two 3x3 in place of GoogLeNet's 5x5.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, figure 5; its Caffe model.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        c1x1: output channels of the 1x1 branch.
        c3x3: (reduce, output) channels of the 3x3 branch.
        double_3x3: (reduce, output) channels of the branch with two 3x3.
        pool_proj: output channels of the pooling branch.
        count_include_pad: whether the average pool counts its padding.
        bias: whether convolutions have a bias, although batch norm follows.
        bn_eps: added to the variance in batch norm.
        max_pool: whether its pool takes the largest value, as in 5b, or the mean.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, c1x1 + c3x3[1] + double_3x3[1] + pool_proj, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c1x1: int,
        c3x3: tuple[int, int],
        double_3x3: tuple[int, int],
        pool_proj: int,
        count_include_pad: bool = True,
        bias: bool = True,
        bn_eps: float = BN_EPS,
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        conv = _conv_block(bias, bn_eps)
        self.conv_1x1 = conv(in_channels, c1x1, 1)
        self.conv_3x3_reduce = conv(in_channels, c3x3[0], 1)
        self.conv_3x3 = conv(c3x3[0], c3x3[1], 3, padding=1)
        self.double_3x3_reduce = conv(in_channels, double_3x3[0], 1)
        self.double_3x3_1 = conv(double_3x3[0], double_3x3[1], 3, padding=1)
        self.double_3x3_2 = conv(double_3x3[1], double_3x3[1], 3, padding=1)
        self.pool = (
            MaxPool(3, stride=1, padding=1)
            if max_pool
            else AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad)
        )
        self.pool_proj = conv(in_channels, pool_proj, 1)
        self.concat = Concat()

    def forward(self, x: Array) -> Array:
        branch1x1 = self.conv_1x1(x)
        branch3x3 = self.conv_3x3(self.conv_3x3_reduce(x))
        double = self.double_3x3_2(self.double_3x3_1(self.double_3x3_reduce(x)))
        branch_pool = self.pool_proj(self.pool(x))
        return self.concat(branch1x1, branch3x3, double, branch_pool)

    def describe(self) -> str:
        return "BN-Inception block"


class BNInceptionReduction(Module):
    """Halves the grid: two convolutional branches and a max pool beside them.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, figure 5 (3c and 4e, "pass
    through"); its Caffe model.
    Deviation: with `padded_pool`, MXNet's pool. The Caffe model's takes windows from the
    first pixel on and may reach beyond the last, MXNet's begins in the padding. Both give
    H / 2 on an even grid; on an odd one the Caffe model's branches don't fit together.

    Args:
        in_channels: channels of the input.
        c3x3: (reduce, output) channels of the 3x3 branch.
        double_3x3: (reduce, output) channels of the branch with two 3x3.
        padded_pool: whether the pool is padded by 1 (MXNet) or in ceil mode (Caffe).
        bias: whether convolutions have a bias, although batch norm follows.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W), H and W even, or any with `padded_pool`
        output: (N, c3x3[1] + double_3x3[1] + in_channels, H', W'), H' = (H + 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c3x3: tuple[int, int],
        double_3x3: tuple[int, int],
        padded_pool: bool = False,
        bias: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = _conv_block(bias, bn_eps)
        self.conv_3x3_reduce = conv(in_channels, c3x3[0], 1)
        self.conv_3x3 = conv(c3x3[0], c3x3[1], 3, stride=2, padding=1)
        self.double_3x3_reduce = conv(in_channels, double_3x3[0], 1)
        self.double_3x3_1 = conv(double_3x3[0], double_3x3[1], 3, padding=1)
        self.double_3x3_2 = conv(double_3x3[1], double_3x3[1], 3, stride=2, padding=1)
        self.pool = (
            MaxPool(3, stride=2, padding=1) if padded_pool else MaxPool(3, stride=2, ceil_mode=True)
        )
        self.concat = Concat()

    def forward(self, x: Array) -> Array:
        branch3x3 = self.conv_3x3(self.conv_3x3_reduce(x))
        double = self.double_3x3_2(self.double_3x3_1(self.double_3x3_reduce(x)))
        return self.concat(branch3x3, double, self.pool(x))

    def describe(self) -> str:
        return "BN-Inception reduction"


class BNInception(Network):
    """BN-Inception, GoogLeNet with batch norm as its paper has it.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, figure 5, as in its Caffe model.
    Deviation: set by the arguments. For 4c and 4d the figure states pool projections of
    128 and outputs of 576 channels, which don't add up: Caffe and MXNet have 128 and
    608 channels, TF-slim 96 and 576. TF-slim's convolutions have no bias and its average
    pools don't count the padding. The last pool is over the whole grid, whatever its size.

    Args:
        in_channels: channels of the images.
        num_classes: length of the logits; 0 for no classifier.
        pool_features: output channels of the pooling branch in 4c and 4d.
        padded_pool: whether the pools of 3c and 4e are padded by 1 (MXNet) or in
            ceil mode (Caffe).
        count_include_pad: whether the blocks' average pools count their padding.
        bias: whether convolutions have a bias, although batch norm follows.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W), H, W from 32 k - 1 to 32 k + 6 for a whole k, or
            any from 7 on with `padded_pool`
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    classifier = "last_linear"
    grid_layer = "inception_5b"
    pooled_layer = "flatten"
    num_features = 1024

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        pool_features: int = 128,
        padded_pool: bool = False,
        count_include_pad: bool = True,
        bias: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels)
        require_classes(num_classes)
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "pool_features": pool_features,
            "padded_pool": padded_pool,
            "count_include_pad": count_include_pad,
            "bias": bias,
            "bn_eps": bn_eps,
        }
        conv, count, norm = _conv_block(bias, bn_eps), count_include_pad, (bias, bn_eps)
        c4 = 480 + pool_features  # channels of 4c and 4d
        # Shapes for an input of in_channels x 224 x 224, with the default pool_features.
        self.conv1_7x7_s2 = conv(in_channels, 64, 7, stride=2, padding=3)  # 64 x 112 x 112
        self.pool1_3x3_s2 = MaxPool(3, stride=2, ceil_mode=True)  # 64 x 56 x 56
        self.conv2_3x3_reduce = conv(64, 64, 1)  # 64 x 56 x 56
        self.conv2_3x3 = conv(64, 192, 3, padding=1)  # 192 x 56 x 56
        self.pool2_3x3_s2 = MaxPool(3, stride=2, ceil_mode=True)  # 192 x 28 x 28
        self.inception_3a = BNInceptionBlock(  # 256 x 28 x 28
            192, 64, (64, 64), (64, 96), 32, count, *norm
        )
        self.inception_3b = BNInceptionBlock(  # 320 x 28 x 28
            256, 64, (64, 96), (64, 96), 64, count, *norm
        )
        self.inception_3c = BNInceptionReduction(  # 576 x 14 x 14
            320, (128, 160), (64, 96), padded_pool, *norm
        )
        self.inception_4a = BNInceptionBlock(  # 576 x 14 x 14
            576, 224, (64, 96), (96, 128), 128, count, *norm
        )
        self.inception_4b = BNInceptionBlock(  # 576 x 14 x 14
            576, 192, (96, 128), (96, 128), 128, count, *norm
        )
        self.inception_4c = BNInceptionBlock(  # 608 x 14 x 14
            576, 160, (128, 160), (128, 160), pool_features, count, *norm
        )
        self.inception_4d = BNInceptionBlock(  # 608 x 14 x 14
            c4, 96, (128, 192), (160, 192), pool_features, count, *norm
        )
        self.inception_4e = BNInceptionReduction(  # 1056 x 7 x 7
            c4, (128, 192), (192, 256), padded_pool, *norm
        )
        self.inception_5a = BNInceptionBlock(  # 1024 x 7 x 7
            448 + c4, 352, (192, 320), (160, 224), 128, count, *norm
        )
        self.inception_5b = BNInceptionBlock(  # 1024 x 7 x 7
            1024, 352, (192, 320), (192, 224), 128, count, *norm, max_pool=True
        )
        self.global_pool = GlobalAvgPool()  # 1024 x 1 x 1
        self.flatten = Flatten()  # 1024
        self.last_linear = Linear(1024, num_classes) if num_classes else None  # num_classes

    def forward(self, x: Array) -> Array:
        x = self.pool1_3x3_s2(self.conv1_7x7_s2(x))
        x = self.pool2_3x3_s2(self.conv2_3x3(self.conv2_3x3_reduce(x)))
        x = self.inception_3c(self.inception_3b(self.inception_3a(x)))
        x = self.inception_4b(self.inception_4a(x))
        x = self.inception_4e(self.inception_4d(self.inception_4c(x)))
        x = self.inception_5b(self.inception_5a(x))
        x = self.flatten(self.global_pool(x))
        return x if self.last_linear is None else self.last_linear(x)


def _conv_block(bias: bool, bn_eps: float) -> partial[ConvBlock]:
    return partial(ConvBlock, bias=bias, batch_norm=True, bn_eps=bn_eps)
