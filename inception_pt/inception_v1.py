"""GoogLeNet as it is usually trained today: batch norm and two auxiliary heads."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from .layers import (
    Concat,
    ConvBlock,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    ReLU,
    Sequential,
    require_classes,
    require_heads,
    require_positive,
)
from .network import Network
from .pools import AvgPool, GlobalAvgPool, MaxPool

BN_EPS = 1e-5  # PyTorch's default, which the source keeps


class InceptionV1Block(nn.Module):
    """Four parallel branches over one input, joined along the channels.

    Source: Szegedy et al. 2014, arXiv:1409.4842, figure 2(b) and table 1.
    Deviation: batch norm in place of the convolutions' biases.

    Args:
        in_channels: channels of the input.
        out_1x1: output channels of branch 1.
        red_3x3: channels to which branch 2 reduces its input.
        out_3x3: output channels of branch 2.
        red_5x5: channels to which branch 3 reduces its input.
        out_5x5: output channels of branch 3.
        out_pool: output channels of branch 4, 3x3 max pool then 1x1.
        batch_norm: False for biases and no batch norm, as in the paper.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, out_1x1 + out_3x3 + out_5x5 + out_pool, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_1x1: int,
        red_3x3: int,
        out_3x3: int,
        red_5x5: int,
        out_5x5: int,
        out_pool: int,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        conv = partial(ConvBlock, bias=not batch_norm, batch_norm=batch_norm, bn_eps=BN_EPS)
        self.branch1 = conv(in_channels, out_1x1, 1)
        self.branch2 = Sequential(
            conv(in_channels, red_3x3, 1),
            conv(red_3x3, out_3x3, 3, padding=1),
        )
        self.branch3 = Sequential(
            conv(in_channels, red_5x5, 1),
            conv(red_5x5, out_5x5, 5, padding=2),
        )
        self.branch4 = Sequential(
            MaxPool(3, stride=1, padding=1),
            conv(in_channels, out_pool, 1),
        )
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        return self.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))


class InceptionV1Aux(nn.Module):
    """Auxiliary classifier on a 14 x 14 grid.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 5.
    Deviation: batch norm in place of the convolution's bias.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits.
        batch_norm: False for a bias and no batch norm, as in the paper.

    Shape:
        input:  (N, in_channels, H, W), H and W from 14 to 16
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        conv = partial(ConvBlock, bias=not batch_norm, batch_norm=batch_norm, bn_eps=BN_EPS)
        # Shapes for an input of in_channels x 14 x 14.
        self.avgpool = AvgPool(5, stride=3, count_include_pad=False)  # in_channels x 4 x 4
        self.conv = conv(in_channels, 128, 1)  # 128 x 4 x 4
        self.flatten = Flatten()  # 2048
        self.fc1 = Linear(128 * 4 * 4, 1024)
        self.relu = ReLU()
        self.dropout = Dropout(0.7)
        self.fc2 = Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(self.conv(self.avgpool(x)))
        x = self.dropout(self.relu(self.fc1(x)))
        return self.fc2(x)


class InceptionV1(Network):
    """GoogLeNet with batch norm and auxiliary heads, or as published in 2014.

    Source: Szegedy et al. 2014, arXiv:1409.4842, table 1, with batch norm after
    every convolution as in Ioffe and Szegedy 2015, arXiv:1502.03167.
    Deviation from the paper, unless `lrn`: batch norm in place of the biases and
    of local response normalisation. `conv2a` is the table's "#3x3 reduce" of its
    second convolution, 64 channels.

    Returns logits; in training, or with `return_aux`, the tuple (logits, aux2,
    aux1) of the classifier, the second head (after 4d) and the first (after 4a).
    Common PyTorch code always returns three values, two of them None in inference.

    Args:
        in_channels: channels of the images.
        num_classes: length of the logits; 0 for no classifier,
            with `use_aux=False`.
        use_aux: whether there are auxiliary heads.
        lrn: True for the network of 2014: local response normalisation around
            the stem's two convolutions, biases, and no batch norm.
        return_aux: whether the heads run in inference as well.

    Shape:
        input:  (N, in_channels, H, W), any H, W >= 1; where the heads run, 209 to 256
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive, or `return_aux`
            without `use_aux`.
    """

    classifier = "linear"
    head_classifiers = ("aux2.fc2", "aux1.fc2")
    grid_layer = "inception_5b"
    pooled_layer = "flatten"
    num_features = 1024

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        use_aux: bool = True,
        lrn: bool = False,
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
            "lrn": lrn,
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        norm = not lrn
        conv = partial(ConvBlock, bias=lrn, batch_norm=norm, bn_eps=BN_EPS)
        # Shapes for an input of in_channels x 224 x 224.
        self.conv1 = conv(in_channels, 64, 7, 2, 3)  # 64 x 112 x 112
        self.maxpool1 = MaxPool(3, stride=2, padding=1)  # 64 x 56 x 56
        self.lrn1 = LocalResponseNorm(5, 1e-4, 0.75, 1.0) if lrn else None
        self.conv2a = conv(64, 64, 1)  # 64 x 56 x 56
        self.conv2b = conv(64, 192, 3, padding=1)  # 192 x 56 x 56
        self.lrn2 = LocalResponseNorm(5, 1e-4, 0.75, 1.0) if lrn else None
        self.maxpool2 = MaxPool(3, stride=2, padding=1)  # 192 x 28 x 28
        self.inception_3a = InceptionV1Block(192, 64, 96, 128, 16, 32, 32, norm)  # 256 x 28 x 28
        self.inception_3b = InceptionV1Block(256, 128, 128, 192, 32, 96, 64, norm)  # 480 x 28 x 28
        self.maxpool3 = MaxPool(3, stride=2, padding=1)  # 480 x 14 x 14
        self.inception_4a = InceptionV1Block(480, 192, 96, 208, 16, 48, 64, norm)  # 512 x 14 x 14
        self.inception_4b = InceptionV1Block(512, 160, 112, 224, 24, 64, 64, norm)  # 512 x 14 x 14
        self.inception_4c = InceptionV1Block(512, 128, 128, 256, 24, 64, 64, norm)  # 512 x 14 x 14
        self.inception_4d = InceptionV1Block(512, 112, 144, 288, 32, 64, 64, norm)  # 528 x 14 x 14
        self.inception_4e = InceptionV1Block(
            528, 256, 160, 320, 32, 128, 128, norm
        )  # 832 x 14 x 14
        self.maxpool4 = MaxPool(3, stride=2, padding=1)  # 832 x 7 x 7
        self.inception_5a = InceptionV1Block(832, 256, 160, 320, 32, 128, 128, norm)  # 832 x 7 x 7
        self.inception_5b = InceptionV1Block(832, 384, 192, 384, 48, 128, 128, norm)  # 1024 x 7 x 7
        self.aux1 = InceptionV1Aux(512, num_classes, norm) if use_aux else None  # num_classes
        self.aux2 = InceptionV1Aux(528, num_classes, norm) if use_aux else None  # num_classes
        self.avgpool = GlobalAvgPool()  # 1024 x 1 x 1
        self.flatten = Flatten()  # 1024
        self.dropout = Dropout(0.4)
        self.linear = Linear(1024, num_classes) if num_classes else None  # num_classes

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        heads = self.training or self.return_aux
        x = self.maxpool1(self.conv1(x))
        if self.lrn1 is not None:
            x = self.lrn1(x)
        x = self.conv2b(self.conv2a(x))
        if self.lrn2 is not None:
            x = self.lrn2(x)
        x = self.inception_3b(self.inception_3a(self.maxpool2(x)))
        x = self.inception_4a(self.maxpool3(x))
        aux1 = self.aux1(x) if heads and self.aux1 is not None else None
        x = self.inception_4d(self.inception_4c(self.inception_4b(x)))
        aux2 = self.aux2(x) if heads and self.aux2 is not None else None
        x = self.maxpool4(self.inception_4e(x))
        x = self.inception_5b(self.inception_5a(x))
        x = self.dropout(self.flatten(self.avgpool(x)))
        logits = x if self.linear is None else self.linear(x)
        if aux1 is None or aux2 is None:
            return logits
        return logits, aux2, aux1
