"""Inception-ResNet-v1 and v2, with the names of TF-slim."""

from __future__ import annotations

from torch import Tensor, nn

from .inception_v3 import InceptionAux
from .inception_v4 import ReductionA
from .layers import (
    Concat,
    ConvBlock,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    ScaledAdd,
    Sequential,
    conv_norm_act,
    require_classes,
    require_heads,
    require_positive,
)
from .network import Network
from .pools import AvgPool, GlobalAvgPool, MaxPool

BN_EPS = 1e-3  # the same in TF-slim, Keras, timm, pytorchcv and facenet


class Mixed5b(nn.Module):
    """Four parallel branches on the 35 x 35 grid, without a shortcut.

    Source: TF-slim's inception_resnet_v2; not in Szegedy et al. 2016, arXiv:1602.07261.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 320, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, 96, 1)
        self.branch1 = Sequential(
            conv(in_channels, 48, 1),
            conv(48, 64, 5, padding=2),
        )
        self.branch2 = Sequential(
            conv(in_channels, 64, 1),
            conv(64, 96, 3, padding=1),
            conv(96, 96, 3, padding=1),
        )
        self.branch3 = Sequential(
            AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad),
            conv(in_channels, 64, 1),
        )
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        return self.concat(self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x))


class Block35(nn.Module):
    """Three parallel branches on the 35 x 35 grid, projected and added to the shortcut.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figures 10 and 16; TF-slim's block35.
    Deviation: none.

    Args:
        in_channels: channels of the input, and of the output.
        c0: output channels of branch 0, a 1x1.
        c1: (1x1, 3x3) output channels of branch 1.
        c2: (1x1, 3x3, 3x3) output channels of branch 2.
        scale: factor of the residual.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        (N, in_channels, H, W) -> the same

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c0: int,
        c1: tuple[int, int],
        c2: tuple[int, int, int],
        scale: float,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, c0, 1)
        self.branch1 = Sequential(
            conv(in_channels, c1[0], 1),
            conv(c1[0], c1[1], 3, padding=1),
        )
        self.branch2 = Sequential(
            conv(in_channels, c2[0], 1),
            conv(c2[0], c2[1], 3, padding=1),
            conv(c2[1], c2[2], 3, padding=1),
        )
        self.concat = Concat()
        self.projection = ConvBlock(c0 + c1[1] + c2[2], in_channels, 1, activation=False)
        self.add = ScaledAdd(scale)
        self.act = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        branches = self.concat(self.branch0(x), self.branch1(x), self.branch2(x))
        return self.act(self.add(x, self.projection(branches)))


class Block17(nn.Module):
    """Two parallel branches on the 17 x 17 grid, projected and added to the shortcut.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figures 11 and 17; TF-slim's block17.
    Deviation: none.

    Args:
        in_channels: channels of the input, and of the output.
        c0: output channels of branch 0, a 1x1.
        c1: (1x1, 1x7, 7x1) output channels of branch 1.
        scale: factor of the residual.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        (N, in_channels, H, W) -> the same

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c0: int,
        c1: tuple[int, int, int],
        scale: float,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, c0, 1)
        self.branch1 = Sequential(
            conv(in_channels, c1[0], 1),
            conv(c1[0], c1[1], (1, 7), padding=(0, 3)),
            conv(c1[1], c1[2], (7, 1), padding=(3, 0)),
        )
        self.concat = Concat()
        self.projection = ConvBlock(c0 + c1[2], in_channels, 1, activation=False)
        self.add = ScaledAdd(scale)
        self.act = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        branches = self.concat(self.branch0(x), self.branch1(x))
        return self.act(self.add(x, self.projection(branches)))


class Block8(nn.Module):
    """Two parallel branches on the 8 x 8 grid, projected and added to the shortcut.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figures 13 and 19; TF-slim's block8.
    Deviation: set by `activation`; TF-slim's last block of this kind has none.

    Args:
        in_channels: channels of the input, and of the output.
        c0: output channels of branch 0, a 1x1.
        c1: (1x1, 1x3, 3x1) output channels of branch 1.
        scale: factor of the residual.
        activation: whether there is a ReLU after the addition.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        (N, in_channels, H, W) -> the same

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c0: int,
        c1: tuple[int, int, int],
        scale: float,
        activation: bool = True,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, c0, 1)
        self.branch1 = Sequential(
            conv(in_channels, c1[0], 1),
            conv(c1[0], c1[1], (1, 3), padding=(0, 1)),
            conv(c1[1], c1[2], (3, 1), padding=(1, 0)),
        )
        self.concat = Concat()
        self.projection = ConvBlock(c0 + c1[2], in_channels, 1, activation=False)
        self.add = ScaledAdd(scale)
        self.act = ReLU() if activation else None

    def forward(self, x: Tensor) -> Tensor:
        branches = self.concat(self.branch0(x), self.branch1(x))
        x = self.add(x, self.projection(branches))
        return x if self.act is None else self.act(x)


class ResNetReductionB(nn.Module):
    """Reduces the 17 x 17 grid to 8 x 8.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figures 12 and 18; TF-slim's
    inception_resnet_v2.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        c0: (1x1, 3x3 of stride 2) output channels of branch 0.
        c1: (1x1, 3x3 of stride 2) output channels of branch 1.
        c2: (1x1, 3x3, 3x3 of stride 2) output channels of branch 2.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, c0[1] + c1[1] + c2[2] + in_channels, H', W'), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c0: tuple[int, int],
        c1: tuple[int, int],
        c2: tuple[int, int, int],
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = Sequential(
            conv(in_channels, c0[0], 1),
            conv(c0[0], c0[1], 3, stride=2),
        )
        self.branch1 = Sequential(
            conv(in_channels, c1[0], 1),
            conv(c1[0], c1[1], 3, stride=2),
        )
        self.branch2 = Sequential(
            conv(in_channels, c2[0], 1),
            conv(c2[0], c2[1], 3, padding=1),
            conv(c2[1], c2[2], 3, stride=2),
        )
        self.branch3 = MaxPool(3, stride=2)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        return self.concat(self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x))


class InceptionResNetV1(Network):
    """Inception-ResNet-v1.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figures 10 to 15; the code of
    facenet, which pytorchcv and facenet-pytorch follow.
    Deviation: the paper scales residuals by 0.1 to 0.3; the factors here are
    facenet's. Its sixth block on the 8 x 8 grid, which the paper hasn't, is the last
    one: scaled by 1 and without ReLU. Its dropout is that of the paper, 0.2;
    pytorchcv and facenet-pytorch have 0.6. There is no auxiliary head.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits; 0 for no classifier.
        block35_scale: factor of the residuals on the 35 x 35 grid.
        block17_scale: factor of the residuals on the 17 x 17 grid.
        block8_scale: factor of the residuals on the 8 x 8 grid, but for the last.
        last_scale: factor of the last block's residual.
        last_activation: whether the last block has a ReLU.
        bottleneck: whether the classifier is given 512 features, from a linear layer
            with batch norm, as in facenet; here a 1x1 convolution of the 1 x 1 grid.
        bn_scale: whether batch norm has a weight; facenet's has not.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W), H, W >= 75
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    classifier = "fc"
    grid_layer = "Block8"
    pooled_layer = "flatten"

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        block35_scale: float = 0.17,
        block17_scale: float = 0.1,
        block8_scale: float = 0.2,
        last_scale: float = 1.0,
        last_activation: bool = False,
        bottleneck: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels)
        require_classes(num_classes)
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "block35_scale": block35_scale,
            "block17_scale": block17_scale,
            "block8_scale": block8_scale,
            "last_scale": last_scale,
            "last_activation": last_activation,
            "bottleneck": bottleneck,
            "bn_scale": bn_scale,
            "bn_eps": bn_eps,
        }
        conv, norm = conv_norm_act(bn_scale, bn_eps), (bn_scale, bn_eps)
        c17, c8 = (128, (128, 128, 128)), (192, (192, 192, 192))
        # Shapes for an input of in_channels x 299 x 299.
        self.Conv2d_1a_3x3 = conv(in_channels, 32, 3, stride=2)  # 32 x 149 x 149
        self.Conv2d_2a_3x3 = conv(32, 32, 3)  # 32 x 147 x 147
        self.Conv2d_2b_3x3 = conv(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.MaxPool_3a_3x3 = MaxPool(3, stride=2)  # 64 x 73 x 73
        self.Conv2d_3b_1x1 = conv(64, 80, 1)  # 80 x 73 x 73
        self.Conv2d_4a_3x3 = conv(80, 192, 3)  # 192 x 71 x 71
        self.Conv2d_4b_3x3 = conv(192, 256, 3, stride=2)  # 256 x 35 x 35
        self.Repeat = Sequential(
            *[Block35(256, 32, (32, 32), (32, 32, 32), block35_scale, *norm) for _ in range(5)]
        )  # 256 x 35 x 35
        self.Mixed_6a = ReductionA(256, 384, (192, 192, 256), *norm)  # 896 x 17 x 17
        self.Repeat_1 = Sequential(
            *[Block17(896, *c17, block17_scale, *norm) for _ in range(10)]
        )  # 896 x 17 x 17
        self.Mixed_7a = ResNetReductionB(
            896, (256, 384), (256, 256), (256, 256, 256), *norm
        )  # 1792 x 8 x 8
        self.Repeat_2 = Sequential(
            *[Block8(1792, *c8, block8_scale, True, *norm) for _ in range(5)]
        )  # 1792 x 8 x 8
        self.Block8 = Block8(1792, *c8, last_scale, last_activation, *norm)  # 1792 x 8 x 8
        self.avgpool = GlobalAvgPool()  # 1792 x 1 x 1
        self.dropout = Dropout(0.2)
        features = 512 if bottleneck else 1792
        self.num_features = features
        self.Bottleneck = (
            conv(1792, features, 1, activation=False) if bottleneck else None
        )  # 512 x 1 x 1
        self.flatten = Flatten()  # 1792, or 512
        self.fc = Linear(features, num_classes) if num_classes else None  # num_classes

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.MaxPool_3a_3x3(x)))
        x = self.Repeat(self.Conv2d_4b_3x3(x))
        x = self.Repeat_1(self.Mixed_6a(x))
        x = self.Block8(self.Repeat_2(self.Mixed_7a(x)))
        x = self.dropout(self.avgpool(x))
        if self.Bottleneck is not None:
            x = self.Bottleneck(x)
        x = self.flatten(x)
        return x if self.fc is None else self.fc(x)


class InceptionResNetV2(Network):
    """Inception-ResNet-v2.

    Source: TF-slim's inception_resnet_v2, by the authors of Szegedy et al. 2016,
    arXiv:1602.07261; Keras, timm and pytorchcv follow it.
    Deviation: this is the published code, not the paper's table. The paper has the
    stem of Inception-v4 with 384 channels in place of Mixed_5b with 320, 5, 10 and 5
    blocks in place of 10, 20 and 10, and a ReLU in the last one; it scales residuals
    by 0.1 to 0.3. Its figures 17 and 19 print 1154 and 2048 channels where the
    branches of its own stem add up to 1152 and 2144. Keras', timm's and pytorchcv's
    networks have no head and no dropout by default. In training this returns
    (logits, aux); in inference the logits, unless `return_aux`.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits; 0 for no classifier,
            with `use_aux=False`.
        use_aux: whether there is an auxiliary head, on the last 17 x 17 grid.
        block35_scale: factor of the residuals on the 35 x 35 grid.
        block17_scale: factor of the residuals on the 17 x 17 grid.
        block8_scale: factor of the residuals on the 8 x 8 grid, but for the last.
        last_scale: factor of the last block's residual.
        last_activation: whether the last block has a ReLU.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight; TF-slim's and Keras' have not.
        bn_eps: added to the variance in batch norm.
        return_aux: whether the head runs in inference as well.

    Shape:
        input:  (N, in_channels, H, W), H, W >= 75; where the head runs, 299
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive, or `return_aux`
            without `use_aux`.
    """

    classifier = "fc"
    head_classifiers = ("AuxLogits.fc",)
    grid_layer = "Conv2d_7b_1x1"
    pooled_layer = "flatten"
    num_features = 1536

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        use_aux: bool = True,
        block35_scale: float = 0.17,
        block17_scale: float = 0.1,
        block8_scale: float = 0.2,
        last_scale: float = 1.0,
        last_activation: bool = False,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        return_aux: bool = False,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels)
        require_classes(num_classes, use_aux)
        require_heads(use_aux, return_aux)
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "use_aux": use_aux,
            "block35_scale": block35_scale,
            "block17_scale": block17_scale,
            "block8_scale": block8_scale,
            "last_scale": last_scale,
            "last_activation": last_activation,
            "count_include_pad": count_include_pad,
            "bn_scale": bn_scale,
            "bn_eps": bn_eps,
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        conv, norm = conv_norm_act(bn_scale, bn_eps), (bn_scale, bn_eps)
        c17, c8 = (192, (128, 160, 192)), (192, (192, 224, 256))
        # Shapes for an input of in_channels x 299 x 299.
        self.Conv2d_1a_3x3 = conv(in_channels, 32, 3, stride=2)  # 32 x 149 x 149
        self.Conv2d_2a_3x3 = conv(32, 32, 3)  # 32 x 147 x 147
        self.Conv2d_2b_3x3 = conv(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.MaxPool_3a_3x3 = MaxPool(3, stride=2)  # 64 x 73 x 73
        self.Conv2d_3b_1x1 = conv(64, 80, 1)  # 80 x 73 x 73
        self.Conv2d_4a_3x3 = conv(80, 192, 3)  # 192 x 71 x 71
        self.MaxPool_5a_3x3 = MaxPool(3, stride=2)  # 192 x 35 x 35
        self.Mixed_5b = Mixed5b(192, count_include_pad, *norm)  # 320 x 35 x 35
        self.Repeat = Sequential(
            *[Block35(320, 32, (32, 32), (32, 48, 64), block35_scale, *norm) for _ in range(10)]
        )  # 320 x 35 x 35
        self.Mixed_6a = ReductionA(320, 384, (256, 256, 384), *norm)  # 1088 x 17 x 17
        self.Repeat_1 = Sequential(
            *[Block17(1088, *c17, block17_scale, *norm) for _ in range(20)]
        )  # 1088 x 17 x 17
        self.AuxLogits = InceptionAux(1088, num_classes, *norm) if use_aux else None  # num_classes
        self.Mixed_7a = ResNetReductionB(
            1088, (256, 384), (256, 288), (256, 288, 320), *norm
        )  # 2080 x 8 x 8
        self.Repeat_2 = Sequential(
            *[Block8(2080, *c8, block8_scale, True, *norm) for _ in range(9)]
        )  # 2080 x 8 x 8
        self.Block8 = Block8(2080, *c8, last_scale, last_activation, *norm)  # 2080 x 8 x 8
        self.Conv2d_7b_1x1 = conv(2080, 1536, 1)  # 1536 x 8 x 8
        self.avgpool = GlobalAvgPool()  # 1536 x 1 x 1
        self.dropout = Dropout(0.2)
        self.flatten = Flatten()  # 1536
        self.fc = Linear(1536, num_classes) if num_classes else None  # num_classes

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        heads = self.training or self.return_aux
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.MaxPool_3a_3x3(x)))
        x = self.Repeat(self.Mixed_5b(self.MaxPool_5a_3x3(x)))
        x = self.Repeat_1(self.Mixed_6a(x))
        aux = self.AuxLogits(x) if heads and self.AuxLogits is not None else None
        x = self.Block8(self.Repeat_2(self.Mixed_7a(x)))
        x = self.avgpool(self.Conv2d_7b_1x1(x))
        x = self.flatten(self.dropout(x))
        logits = x if self.fc is None else self.fc(x)
        if aux is None:
            return logits
        return logits, aux
