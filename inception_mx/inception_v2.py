"""Inception-v2 of 'Rethinking the Inception Architecture': factorised convolutions."""

from __future__ import annotations

from functools import partial
from typing import Any

from ._mxnet import gluon
from .layers import (
    Concat,
    Conv2d,
    ConvBlock,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    require_classes,
    require_heads,
    require_positive,
)
from .network import Network
from .pools import AdaptiveAvgPool, GlobalAvgPool, MaxPool

BN_EPS = 1e-5  # PyTorch's default, which the source keeps

_conv = partial(ConvBlock, batch_norm=True, bn_eps=BN_EPS)  # with bias, as in the source


class InceptionF5(gluon.HybridBlock):
    """Four parallel branches, with two 3x3 convolutions in place of a 5x5.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 5.
    Deviation: channels as in TF-slim's v3, since the paper states none; nor does
    it state the kind of pool.

    Args:
        in_channels: channels of the input.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 288, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1 = Sequential(
            _conv(in_channels, 64, 1),
            _conv(64, 96, 3, padding=1),
            _conv(96, 96, 3, padding=1),
        )
        self.branch2 = Sequential(
            _conv(in_channels, 48, 1),
            _conv(48, 64, 3, padding=1),
        )
        self.branch3 = Sequential(
            MaxPool(3, stride=1, padding=1),
            _conv(in_channels, 64, 1),
        )
        self.branch4 = Sequential(
            _conv(in_channels, 64, 1),
        )
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))


class InceptionF6(gluon.HybridBlock):
    """Four parallel branches, with pairs of 1x7 and 7x1 in place of 7x7.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 6.
    Deviation: channels as in TF-slim's v3, since the paper states none.

    Args:
        in_channels: channels of the input.
        f_7x7: channels between the factors of 7x7.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 768, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(self, in_channels: int, f_7x7: int) -> None:
        super().__init__()
        self.branch1 = Sequential(
            _conv(in_channels, f_7x7, 1),
            _conv(f_7x7, f_7x7, (1, 7), padding=(0, 3)),
            _conv(f_7x7, f_7x7, (7, 1), padding=(3, 0)),
            _conv(f_7x7, f_7x7, (1, 7), padding=(0, 3)),
            _conv(f_7x7, 192, (7, 1), padding=(3, 0)),
        )
        self.branch2 = Sequential(
            _conv(in_channels, f_7x7, 1),
            _conv(f_7x7, f_7x7, (1, 7), padding=(0, 3)),
            _conv(f_7x7, 192, (7, 1), padding=(3, 0)),
        )
        self.branch3 = Sequential(
            MaxPool(3, stride=1, padding=1),
            _conv(in_channels, 192, 1),
        )
        self.branch4 = Sequential(
            _conv(in_channels, 192, 1),
        )
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))


class InceptionF7(gluon.HybridBlock):
    """Four parallel branches, two of which end in parallel 1x3 and 3x1.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 7.
    Deviation: channels as in TF-slim's v3, since the paper states none.

    Args:
        in_channels: channels of the input.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 2048, H, W)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1 = Sequential(
            _conv(in_channels, 448, 1),
            _conv(448, 384, 3, padding=1),
        )
        self.branch1_top = _conv(384, 384, (1, 3), padding=(0, 1))
        self.branch1_bot = _conv(384, 384, (3, 1), padding=(1, 0))
        self.branch1_concat = Concat()
        self.branch2 = _conv(in_channels, 384, 1)
        self.branch2_top = _conv(384, 384, (1, 3), padding=(0, 1))
        self.branch2_bot = _conv(384, 384, (3, 1), padding=(1, 0))
        self.branch2_concat = Concat()
        self.branch3 = Sequential(
            MaxPool(3, stride=1, padding=1),
            _conv(in_channels, 192, 1),
        )
        self.branch4 = Sequential(
            _conv(in_channels, 320, 1),
        )
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        branch1 = self.branch1(x)
        branch1 = self.branch1_concat(self.branch1_top(branch1), self.branch1_bot(branch1))
        branch2 = self.branch2(x)
        branch2 = self.branch2_concat(self.branch2_top(branch2), self.branch2_bot(branch2))
        return self.concat(branch1, branch2, self.branch3(x), self.branch4(x))


class InceptionRed(gluon.HybridBlock):
    """Halves the grid with two branches of convolutions and a max pool of the input.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 10.
    Deviation: the paper states channels only in its table 1. 178 and 302 are the
    source's choice: 178 + 302 + 288 = 768, and with 16 more on each branch
    194 + 318 + 768 = 1280, as in the table.

    Args:
        in_channels: channels of the input.
        f_3x3_r: channels to which both branches reduce their input.
        add_ch: channels on top of 178 and 302.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, 480 + 2 add_ch + in_channels, H', W'), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(self, in_channels: int, f_3x3_r: int, add_ch: int = 0) -> None:
        super().__init__()
        self.branch1 = Sequential(
            _conv(in_channels, f_3x3_r, 1),
            _conv(f_3x3_r, 178 + add_ch, 3, padding=1),
            _conv(178 + add_ch, 178 + add_ch, 3, stride=2),
        )
        self.branch2 = Sequential(
            _conv(in_channels, f_3x3_r, 1),
            _conv(f_3x3_r, 302 + add_ch, 3, stride=2),
        )
        self.branch3 = Sequential(
            MaxPool(3, stride=2),
        )
        self.concat = Concat()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.concat(self.branch1(x), self.branch2(x), self.branch3(x))


class InceptionV2Aux(gluon.HybridBlock):
    """Auxiliary classifier on the last 17 x 17 grid, or a grid of any other size.

    Source: Szegedy et al. 2015, arXiv:1512.00567, figure 8.
    Deviation: the head of GoogLeNet (Szegedy et al. 2014, section 5) with an
    adaptive pool, as in the source; figure 8 has 5x5/3 and batch norm.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes)
        self.pool = AdaptiveAvgPool(4)  # in_channels x 4 x 4
        self.conv = Conv2d(in_channels, 128, 1)  # 128 x 4 x 4
        self.act1 = ReLU()
        self.flatten = Flatten()  # 2048
        self.fc1 = Linear(2048, 1024)
        self.act2 = ReLU()
        self.dropout = Dropout(0.7)
        self.fc2 = Linear(1024, num_classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.flatten(self.act1(self.conv(self.pool(x))))
        return self.fc2(self.dropout(self.act2(self.fc1(x))))


class InceptionV2(Network):
    """Inception-v2, the network of the paper's table 1.

    Source: Szegedy et al. 2015, arXiv:1512.00567, table 1 and figures 5, 6, 7
    and 10, as a PyTorch tutorial fills them in.
    Deviation: channels inside the blocks are the tutorial's, mostly those of
    TF-slim's v3; convolutions have biases as well as batch norm. This is not the
    network that TF-slim calls `inception_v2`, which is BN-Inception.

    Returns logits; in training, or with `return_aux`, the tuple (logits, aux).
    The tutorial always returns both.

    Args:
        in_channels: channels of the images.
        num_classes: length of the logits; 10 in the tutorial; 0 for no classifier,
            with `use_aux=False`.
        use_aux: whether there is an auxiliary head, after inception4e.
        return_aux: whether the head runs in inference as well.

    Shape:
        input:  (N, in_channels, H, W), H, W >= 75
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive, or `return_aux`
            without `use_aux`.
    """

    classifier = "fc"
    head_classifiers = ("aux.fc2",)
    grid_layer = "inception5b"
    pooled_layer = "flatten"
    num_features = 2048

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        use_aux: bool = True,
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
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        # Shapes for an input of in_channels x 299 x 299.
        self.conv1 = _conv(in_channels, 32, 3, stride=2)  # 32 x 149 x 149
        self.conv2 = _conv(32, 32, 3)  # 32 x 147 x 147
        self.conv3 = _conv(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.pool1 = MaxPool(3, stride=2)  # 64 x 73 x 73
        self.conv4 = _conv(64, 80, 3)  # 80 x 71 x 71
        self.conv5 = _conv(80, 192, 3, stride=2)  # 192 x 35 x 35
        self.conv6 = _conv(192, 288, 3, padding=1)  # 288 x 35 x 35
        self.inception3a = InceptionF5(288)  # 288 x 35 x 35
        self.inception3b = InceptionF5(288)  # 288 x 35 x 35
        self.inception3c = InceptionF5(288)  # 288 x 35 x 35
        self.inceptionRed1 = InceptionRed(288, f_3x3_r=64)  # 768 x 17 x 17
        self.inception4a = InceptionF6(768, f_7x7=128)  # 768 x 17 x 17
        self.inception4b = InceptionF6(768, f_7x7=160)  # 768 x 17 x 17
        self.inception4c = InceptionF6(768, f_7x7=160)  # 768 x 17 x 17
        self.inception4d = InceptionF6(768, f_7x7=160)  # 768 x 17 x 17
        self.inception4e = InceptionF6(768, f_7x7=192)  # 768 x 17 x 17
        self.inceptionRed2 = InceptionRed(768, f_3x3_r=192, add_ch=16)  # 1280 x 8 x 8
        self.aux = InceptionV2Aux(768, num_classes) if use_aux else None  # num_classes
        self.inception5a = InceptionF7(1280)  # 2048 x 8 x 8
        self.inception5b = InceptionF7(2048)  # 2048 x 8 x 8
        self.pool6 = GlobalAvgPool()  # 2048 x 1 x 1
        self.dropout = Dropout(0.4)
        self.flatten = Flatten()  # 2048
        self.fc = Linear(2048, num_classes) if num_classes else None  # num_classes

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        heads = self.heads_run()
        x = self.pool1(self.conv3(self.conv2(self.conv1(x))))
        x = self.conv6(self.conv5(self.conv4(x)))
        x = self.inception3c(self.inception3b(self.inception3a(x)))
        x = self.inceptionRed1(x)
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.inception4e(self.inception4d(x))
        aux = self.aux(x) if heads and self.aux is not None else None
        x = self.inceptionRed2(x)
        x = self.inception5b(self.inception5a(x))
        x = self.flatten(self.dropout(self.pool6(x)))
        logits = x if self.fc is None else self.fc(x)
        return logits if aux is None else (logits, aux)
