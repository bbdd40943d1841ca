"""Inception-v3, with the names of torchvision and TF-slim."""

from __future__ import annotations

from functools import partial
from typing import Any

from ._mxnet import gluon
from .layers import (
    Concat,
    ConvBlock,
    Dropout,
    Flatten,
    Linear,
    TransformInput,
    require_classes,
    require_heads,
    require_positive,
)
from .network import Network
from .pools import AvgPool, GlobalAvgPool, MaxPool

BN_EPS = 1e-3  # the same in TF-slim, torchvision and Keras


class InceptionA(gluon.HybridBlock):
    """Four parallel branches on the 35 x 35 grid, with two 3x3 in place of one 5x5.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 5; TF-slim's inception_v3.
    Deviation: the 5x5 branch is kept beside it, as in all implementations.

    Args:
        in_channels: channels of the input.
        pool_features: output channels of the pooling branch.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 224 + pool_features, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        pool_features: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = _conv_block(bn_scale, bn_eps)
        self.branch1x1 = conv(in_channels, 64, 1)
        self.branch5x5_1 = conv(in_channels, 48, 1)
        self.branch5x5_2 = conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, 3, padding=1)
        self.pool = AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad)
        self.branch_pool = conv(in_channels, pool_features, 1)
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        branch1x1 = self.branch1x1(x)
        branch5x5 = self.branch5x5_2(self.branch5x5_1(x))
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branch_pool = self.branch_pool(self.pool(x))
        return self.concat(branch1x1, branch5x5, branch3x3dbl, branch_pool)


class InceptionB(gluon.HybridBlock):
    """Reduces the 35 x 35 grid to 17 x 17.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 10; TF-slim's inception_v3.
    Deviation: the first branch has no 1x1 before its 3x3, as in all implementations.

    Args:
        in_channels: channels of the input.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 480 + in_channels, H', W'), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = _conv_block(bn_scale, bn_eps)
        self.branch3x3 = conv(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, 3, stride=2)
        self.pool = MaxPool(3, stride=2)
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        branch3x3 = self.branch3x3(x)
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return self.concat(branch3x3, branch3x3dbl, self.pool(x))


class InceptionC(gluon.HybridBlock):
    """Four parallel branches on the 17 x 17 grid, with 1x7 and 7x1 in place of 7x7.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 6; TF-slim's inception_v3.
    Deviation: none; the longer branch begins with 7x1, the shorter with 1x7.

    Args:
        in_channels: channels of the input.
        channels_7x7: channels between the factors of 7x7.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 768, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        channels_7x7: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv, c7 = _conv_block(bn_scale, bn_eps), channels_7x7
        self.branch1x1 = conv(in_channels, 192, 1)
        self.branch7x7_1 = conv(in_channels, c7, 1)
        self.branch7x7_2 = conv(c7, c7, (1, 7), padding=(0, 3))
        self.branch7x7_3 = conv(c7, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = conv(in_channels, c7, 1)
        self.branch7x7dbl_2 = conv(c7, c7, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = conv(c7, c7, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = conv(c7, c7, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = conv(c7, 192, (1, 7), padding=(0, 3))
        self.pool = AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad)
        self.branch_pool = conv(in_channels, 192, 1)
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        branch1x1 = self.branch1x1(x)
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branch7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(branch7x7dbl))
        branch_pool = self.branch_pool(self.pool(x))
        return self.concat(branch1x1, branch7x7, branch7x7dbl, branch_pool)


class InceptionD(gluon.HybridBlock):
    """Reduces the 17 x 17 grid to 8 x 8.

    Source: TF-slim's inception_v3, after figure 10 of Szegedy et al. 2015,
    arXiv:1512.00567, which doesn't show its 7x7 branch.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 512 + in_channels, H', W'), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = _conv_block(bn_scale, bn_eps)
        self.branch3x3_1 = conv(in_channels, 192, 1)
        self.branch3x3_2 = conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = conv(in_channels, 192, 1)
        self.branch7x7x3_2 = conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = conv(192, 192, 3, stride=2)
        self.pool = MaxPool(3, stride=2)
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        branch3x3 = self.branch3x3_2(self.branch3x3_1(x))
        branch7x7x3 = self.branch7x7x3_2(self.branch7x7x3_1(x))
        branch7x7x3 = self.branch7x7x3_4(self.branch7x7x3_3(branch7x7x3))
        return self.concat(branch3x3, branch7x7x3, self.pool(x))


class InceptionE(gluon.HybridBlock):
    """Four parallel branches on the 8 x 8 grid, two of which end in parallel 1x3 and 3x1.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 7; TF-slim's inception_v3.
    Deviation: with `max_pool`, a max pool in place of the average pool, as in the last
    block of the FID's network.

    Args:
        in_channels: channels of the input.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.
        max_pool: whether the pool takes the largest value, or the mean.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 2048, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        conv = _conv_block(bn_scale, bn_eps)
        self.branch1x1 = conv(in_channels, 320, 1)
        self.branch3x3_1 = conv(in_channels, 384, 1)
        self.branch3x3_2a = conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3_concat = Concat()
        self.branch3x3dbl_1 = conv(in_channels, 448, 1)
        self.branch3x3dbl_2 = conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_concat = Concat()
        self.pool = (
            MaxPool(3, stride=1, padding=1)
            if max_pool
            else AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad)
        )
        self.branch_pool = conv(in_channels, 192, 1)
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        branch1x1 = self.branch1x1(x)
        y = self.branch3x3_1(x)
        branch3x3 = self.branch3x3_concat(self.branch3x3_2a(y), self.branch3x3_2b(y))
        y = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branch3x3dbl = self.branch3x3dbl_concat(self.branch3x3dbl_3a(y), self.branch3x3dbl_3b(y))
        branch_pool = self.branch_pool(self.pool(x))
        return self.concat(branch1x1, branch3x3, branch3x3dbl, branch_pool)


class InceptionAux(gluon.HybridBlock):
    """Auxiliary classifier on the last 17 x 17 grid.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 8; TF-slim's inception_v3.
    Deviation: the output of the 5x5 is averaged, so that larger grids work too; on
    17 x 17 it is a single value, and the mean changes nothing.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W), H, W >= 17
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = _conv_block(bn_scale, bn_eps)
        # Shapes for an input of in_channels x 17 x 17.
        self.pool0 = AvgPool(5, stride=3, count_include_pad=False)  # in_channels x 5 x 5
        self.conv0 = conv(in_channels, 128, 1)  # 128 x 5 x 5
        self.conv1 = conv(128, 768, 5)  # 768 x 1 x 1
        self.pool1 = GlobalAvgPool()  # 768 x 1 x 1
        self.flatten = Flatten()  # 768
        self.fc = Linear(768, num_classes)  # num_classes

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.conv1(self.conv0(self.pool0(x)))
        return self.fc(self.flatten(self.pool1(x)))


class InceptionV3(Network):
    """Inception-v3.

    Source: Szegedy et al. 2015, arXiv:1512.00567, as in TF-slim and
    torchvision; the paper's own table 1 is that of Inception-v2.
    Deviation: set by the arguments. torchvision's and MXNet's average pools count
    their padding; Keras' and TF-slim's batch norm has no weight.

    Returns logits; in training, or with `return_aux`, the tuple (logits, aux).

    Args:
        in_channels: channels of the images.
        num_classes: length of the logits; 0 for no classifier,
            with `use_aux=False`.
        use_aux: whether there is an auxiliary head, after Mixed_6e.
        transform_input: whether images arrive normalised by ImageNet's mean and
            standard deviation and are rescaled to -1 … 1 first (torchvision's
            trained weights expect that).
        count_include_pad: whether the blocks' average pools count their padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.
        return_aux: whether the head runs in inference as well.

    Shape:
        input:  (N, in_channels, H, W), H, W >= 75; where the head runs, 299
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive, `return_aux`
            without `use_aux`, or `transform_input` without three channels.
    """

    classifier = "fc"
    head_classifiers = ("AuxLogits.fc",)
    grid_layer = "Mixed_7c"
    pooled_layer = "flatten"
    num_features = 2048

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        use_aux: bool = True,
        transform_input: bool = False,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        return_aux: bool = False,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels)
        require_classes(num_classes, use_aux)
        require_heads(use_aux, return_aux)
        if transform_input and in_channels != 3:
            raise ValueError(f"{in_channels=}, but should be 3 with transform_input=True")
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "use_aux": use_aux,
            "transform_input": transform_input,
            "count_include_pad": count_include_pad,
            "bn_scale": bn_scale,
            "bn_eps": bn_eps,
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        conv, norm = _conv_block(bn_scale, bn_eps), (bn_scale, bn_eps)
        count = count_include_pad
        self.transform = TransformInput() if transform_input else None
        # Shapes for an input of in_channels x 299 x 299.
        self.Conv2d_1a_3x3 = conv(in_channels, 32, 3, stride=2)  # 32 x 149 x 149
        self.Conv2d_2a_3x3 = conv(32, 32, 3)  # 32 x 147 x 147
        self.Conv2d_2b_3x3 = conv(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.maxpool1 = MaxPool(3, stride=2)  # 64 x 73 x 73
        self.Conv2d_3b_1x1 = conv(64, 80, 1)  # 80 x 73 x 73
        self.Conv2d_4a_3x3 = conv(80, 192, 3)  # 192 x 71 x 71
        self.maxpool2 = MaxPool(3, stride=2)  # 192 x 35 x 35
        self.Mixed_5b = InceptionA(192, 32, count, *norm)  # 256 x 35 x 35
        self.Mixed_5c = InceptionA(256, 64, count, *norm)  # 288 x 35 x 35
        self.Mixed_5d = InceptionA(288, 64, count, *norm)  # 288 x 35 x 35
        self.Mixed_6a = InceptionB(288, *norm)  # 768 x 17 x 17
        self.Mixed_6b = InceptionC(768, 128, count, *norm)  # 768 x 17 x 17
        self.Mixed_6c = InceptionC(768, 160, count, *norm)  # 768 x 17 x 17
        self.Mixed_6d = InceptionC(768, 160, count, *norm)  # 768 x 17 x 17
        self.Mixed_6e = InceptionC(768, 192, count, *norm)  # 768 x 17 x 17
        self.AuxLogits = InceptionAux(768, num_classes, *norm) if use_aux else None  # num_classes
        self.Mixed_7a = InceptionD(768, *norm)  # 1280 x 8 x 8
        self.Mixed_7b = InceptionE(1280, count, *norm)  # 2048 x 8 x 8
        self.Mixed_7c = InceptionE(2048, count, *norm)  # 2048 x 8 x 8
        self.avgpool = GlobalAvgPool()  # 2048 x 1 x 1
        self.dropout = Dropout(0.5)
        self.flatten = Flatten()  # 2048
        self.fc = Linear(2048, num_classes) if num_classes else None  # num_classes

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        heads = self.heads_run()
        if self.transform is not None:
            x = self.transform(x)
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        aux = self.AuxLogits(x) if heads and self.AuxLogits is not None else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        x = self.flatten(self.dropout(self.avgpool(x)))
        logits = x if self.fc is None else self.fc(x)
        return logits if aux is None else (logits, aux)


def _conv_block(bn_scale: bool, bn_eps: float) -> partial[ConvBlock]:
    return partial(ConvBlock, bias=False, batch_norm=True, bn_eps=bn_eps, bn_scale=bn_scale)
