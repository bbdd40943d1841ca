"""GoogLeNet as in d2l: plain convolutions with bias, no auxiliary heads."""

from __future__ import annotations

from typing import Any

from ._mxnet import gluon
from .layers import (
    Concat,
    ConvBlock,
    Flatten,
    Linear,
    Sequential,
    require_classes,
    require_positive,
)
from .network import Network
from .pools import GlobalAvgPool, MaxPool


class Inception(gluon.HybridBlock):
    """Four parallel paths over one input, joined along the channels.

    Source: Szegedy et al. 2014, arXiv:1409.4842, figure 2(b); d2l, section 8.4.
    Deviation: none; `batch_norm` is d2l's exercise 1.

    Args:
        in_channels: channels of the input.
        c1: output channels of path 1, the 1x1 convolution.
        c2: (reduce, output) channels of path 2, 1x1 then 3x3.
        c3: (reduce, output) channels of path 3, 1x1 then 5x5.
        c4: output channels of path 4, 3x3 max pool then 1x1.
        batch_norm: whether every convolution is followed by batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, c1 + c2[1] + c3[1] + c4, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c1: int,
        c2: tuple[int, int],
        c3: tuple[int, int],
        c4: int,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.p1_1 = ConvBlock(in_channels, c1, 1, batch_norm=batch_norm)
        self.p2_1 = ConvBlock(in_channels, c2[0], 1, batch_norm=batch_norm)
        self.p2_2 = ConvBlock(c2[0], c2[1], 3, padding=1, batch_norm=batch_norm)
        self.p3_1 = ConvBlock(in_channels, c3[0], 1, batch_norm=batch_norm)
        self.p3_2 = ConvBlock(c3[0], c3[1], 5, padding=2, batch_norm=batch_norm)
        self.p4_1 = MaxPool(3, stride=1, padding=1)
        self.p4_2 = ConvBlock(in_channels, c4, 1, batch_norm=batch_norm)
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        p1 = self.p1_1(x)
        p2 = self.p2_2(self.p2_1(x))
        p3 = self.p3_2(self.p3_1(x))
        p4 = self.p4_2(self.p4_1(x))
        return self.concat(p1, p2, p3, p4)


class GoogLeNet(Network):
    """GoogLeNet, stages b1 to b5 and a linear classifier.

    Source: d2l, section 8.4, after Szegedy et al. 2014, arXiv:1409.4842, table 1.
    Deviation from the paper: no local response normalisation, no auxiliary
    heads, no dropout, and every stride-2 pool pads 1, as in d2l.

    Args:
        in_channels: channels of the images, 1 in the book.
        num_classes: length of the logits, 10 in the book; 0 for no classifier.
        batch_norm: whether every convolution is followed by batch norm (d2l's
            exercise 1; eps 1e-3).

    Shape:
        input:  (N, in_channels, H, W), any H, W >= 1
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    classifier = "fc"
    grid_layer = "b5.1"
    pooled_layer = "b5"
    num_features = 1024

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 10,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels)
        require_classes(num_classes)
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "batch_norm": batch_norm,
        }
        # Shapes for an input of in_channels x 96 x 96.
        self.b1 = Sequential(
            ConvBlock(in_channels, 64, 7, 2, 3, batch_norm=batch_norm),  # 64 x 48 x 48
            MaxPool(3, stride=2, padding=1),  # 64 x 24 x 24
        )
        self.b2 = Sequential(
            ConvBlock(64, 64, 1, batch_norm=batch_norm),  # 64 x 24 x 24
            ConvBlock(64, 192, 3, padding=1, batch_norm=batch_norm),  # 192 x 24 x 24
            MaxPool(3, stride=2, padding=1),  # 192 x 12 x 12
        )
        self.b3 = Sequential(
            Inception(192, 64, (96, 128), (16, 32), 32, batch_norm),  # 256 x 12 x 12
            Inception(256, 128, (128, 192), (32, 96), 64, batch_norm),  # 480 x 12 x 12
            MaxPool(3, stride=2, padding=1),  # 480 x 6 x 6
        )
        self.b4 = Sequential(
            Inception(480, 192, (96, 208), (16, 48), 64, batch_norm),  # 512 x 6 x 6
            Inception(512, 160, (112, 224), (24, 64), 64, batch_norm),  # 512 x 6 x 6
            Inception(512, 128, (128, 256), (24, 64), 64, batch_norm),  # 512 x 6 x 6
            Inception(512, 112, (144, 288), (32, 64), 64, batch_norm),  # 528 x 6 x 6
            Inception(528, 256, (160, 320), (32, 128), 128, batch_norm),  # 832 x 6 x 6
            MaxPool(3, stride=2, padding=1),  # 832 x 3 x 3
        )
        self.b5 = Sequential(
            Inception(832, 256, (160, 320), (32, 128), 128, batch_norm),  # 832 x 3 x 3
            Inception(832, 384, (192, 384), (48, 128), 128, batch_norm),  # 1024 x 3 x 3
            GlobalAvgPool(),  # 1024 x 1 x 1
            Flatten(),  # 1024
        )
        self.fc = Linear(1024, num_classes) if num_classes else None  # num_classes

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        for stage in (self.b1, self.b2, self.b3, self.b4, self.b5):
            x = stage(x)
        return x if self.fc is None else self.fc(x)
