"""Inception-v4, with the names of TF-slim."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor

from ._graph import Block
from .inception_v3 import InceptionAux
from .layers import (
    Concat,
    Dropout,
    Flatten,
    Linear,
    Sequential,
    conv_norm_act,
    require_classes,
    require_heads,
    require_positive,
)
from .network import Network
from .pools import AvgPool, GlobalAvgPool, MaxPool

BN_EPS = 1e-3  # the same in TF-slim, timm and pytorchcv


@keras.saving.register_keras_serializable("inception_tf")
class Mixed3a(Block):
    """Halves the grid in two parallel ways: a max pool and a 3x3 convolution.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 3; TF-slim's inception_v4.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H', W', in_channels + 96), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = MaxPool(3, stride=2)
        self.branch1 = conv(in_channels, 96, 3, stride=2)
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x))


@keras.saving.register_keras_serializable("inception_tf")
class Mixed4a(Block):
    """Two parallel branches that end in a 3x3 without padding, one with 1x7 and 7x1 before it.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 3; TF-slim's inception_v4.
    Deviation: 1x7 comes before 7x1, as in TF-slim, timm and pytorchcv; the figure has
    them the other way round.

    Args:
        in_channels: channels of the input.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H', W', 192), H' = H - 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = Sequential(
            conv(in_channels, 64, 1),
            conv(64, 96, 3),
        )
        self.branch1 = Sequential(
            conv(in_channels, 64, 1),
            conv(64, 64, (1, 7), padding=(0, 3)),
            conv(64, 64, (7, 1), padding=(3, 0)),
            conv(64, 96, 3),
        )
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x))


@keras.saving.register_keras_serializable("inception_tf")
class Mixed5a(Block):
    """Halves the grid in two parallel ways: a 3x3 convolution and a max pool.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 3; TF-slim's inception_v4.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H', W', 192 + in_channels), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, 192, 3, stride=2)
        self.branch1 = MaxPool(3, stride=2)
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x))


@keras.saving.register_keras_serializable("inception_tf")
class InceptionV4A(Block):
    """Four parallel branches on the 35 x 35 grid.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 4; TF-slim's inception_v4.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H, W, 384)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, 96, 1)
        self.branch1 = Sequential(
            conv(in_channels, 64, 1),
            conv(64, 96, 3, padding=1),
        )
        self.branch2 = Sequential(
            conv(in_channels, 64, 1),
            conv(64, 96, 3, padding=1),
            conv(96, 96, 3, padding=1),
        )
        self.branch3 = Sequential(
            AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad),
            conv(in_channels, 96, 1),
        )
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x))


@keras.saving.register_keras_serializable("inception_tf")
class ReductionA(Block):
    """Reduces the 35 x 35 grid to 17 x 17, in Inception-v4 and both residual networks.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 7 and table 1; TF-slim's
    inception_v4.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        c0: output channels of branch 0, a 3x3 of stride 2: n in the paper's table.
        c1: (1x1, 3x3, 3x3 of stride 2) output channels of branch 1: k, l and m.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H', W', c0 + c1[2] + in_channels), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        c0: int,
        c1: tuple[int, int, int],
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, c0, 3, stride=2)
        self.branch1 = Sequential(
            conv(in_channels, c1[0], 1),
            conv(c1[0], c1[1], 3, padding=1),
            conv(c1[1], c1[2], 3, stride=2),
        )
        self.branch2 = MaxPool(3, stride=2)
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x), self.branch2(x))


@keras.saving.register_keras_serializable("inception_tf")
class InceptionV4B(Block):
    """Four parallel branches on the 17 x 17 grid, with 1x7 and 7x1 in place of 7x7.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 5; TF-slim's inception_v4.
    Deviation: the longer branch is 7x1, 1x7, 7x1, 1x7 and the shorter 1x7, 7x1, as in
    TF-slim, timm and pytorchcv. In the figure the longer begins with 1x7, and the
    shorter has 1x7 twice.

    Args:
        in_channels: channels of the input.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H, W, 1024)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, 384, 1)
        self.branch1 = Sequential(
            conv(in_channels, 192, 1),
            conv(192, 224, (1, 7), padding=(0, 3)),
            conv(224, 256, (7, 1), padding=(3, 0)),
        )
        self.branch2 = Sequential(
            conv(in_channels, 192, 1),
            conv(192, 192, (7, 1), padding=(3, 0)),
            conv(192, 224, (1, 7), padding=(0, 3)),
            conv(224, 224, (7, 1), padding=(3, 0)),
            conv(224, 256, (1, 7), padding=(0, 3)),
        )
        self.branch3 = Sequential(
            AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad),
            conv(in_channels, 128, 1),
        )
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x))


@keras.saving.register_keras_serializable("inception_tf")
class ReductionB(Block):
    """Reduces the 17 x 17 grid to 8 x 8.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 8; TF-slim's inception_v4.
    Deviation: none.

    Args:
        in_channels: channels of the input.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H', W', 512 + in_channels), H' = (H - 1) // 2

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = Sequential(
            conv(in_channels, 192, 1),
            conv(192, 192, 3, stride=2),
        )
        self.branch1 = Sequential(
            conv(in_channels, 256, 1),
            conv(256, 256, (1, 7), padding=(0, 3)),
            conv(256, 320, (7, 1), padding=(3, 0)),
            conv(320, 320, 3, stride=2),
        )
        self.branch2 = MaxPool(3, stride=2)
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        return self.concat(self.branch0(x), self.branch1(x), self.branch2(x))


@keras.saving.register_keras_serializable("inception_tf")
class InceptionV4C(Block):
    """Four parallel branches on the 8 x 8 grid, two of which end in parallel 1x3 and 3x1.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figure 6; TF-slim's inception_v4.
    Deviation: 3x1 comes before 1x3, as in TF-slim, timm and pytorchcv; the figure has
    them the other way round.

    Args:
        in_channels: channels of the input.
        count_include_pad: whether the average pool counts its padding.
        bn_scale: whether batch norm has a weight.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, H, W, in_channels)
        output: (N, H, W, 1536)

    Raises:
        ValueError: a channel count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conv = conv_norm_act(bn_scale, bn_eps)
        self.branch0 = conv(in_channels, 256, 1)
        self.branch1_0 = conv(in_channels, 384, 1)
        self.branch1_1a = conv(384, 256, (1, 3), padding=(0, 1))
        self.branch1_1b = conv(384, 256, (3, 1), padding=(1, 0))
        self.branch1_concat = Concat()
        self.branch2_0 = conv(in_channels, 384, 1)
        self.branch2_1 = conv(384, 448, (3, 1), padding=(1, 0))
        self.branch2_2 = conv(448, 512, (1, 3), padding=(0, 1))
        self.branch2_3a = conv(512, 256, (1, 3), padding=(0, 1))
        self.branch2_3b = conv(512, 256, (3, 1), padding=(1, 0))
        self.branch2_concat = Concat()
        self.branch3 = Sequential(
            AvgPool(3, stride=1, padding=1, count_include_pad=count_include_pad),
            conv(in_channels, 256, 1),
        )
        self.concat = Concat()

    def call(self, x: KerasTensor) -> KerasTensor:
        y = self.branch1_0(x)
        branch1 = self.branch1_concat(self.branch1_1a(y), self.branch1_1b(y))
        y = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        branch2 = self.branch2_concat(self.branch2_3a(y), self.branch2_3b(y))
        return self.concat(self.branch0(x), branch1, branch2, self.branch3(x))


@keras.saving.register_keras_serializable("inception_tf")
class InceptionV4(Network):
    """Inception-v4.

    Source: Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9, as in TF-slim.
    Deviation: set by the arguments; the order of 1x7 and 7x1, and of 1x3 and 3x1, is
    TF-slim's, not that of figures 3, 5 and 6. timm's and pytorchcv's networks have no
    head and no dropout by default. TF-slim's weights have no batch-norm weight, and
    1001 classes. In training this returns (logits, aux); in inference the logits,
    unless `return_aux`.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits; 0 for no classifier,
            with `use_aux=False`.
        use_aux: whether there is an auxiliary head, on the last 17 x 17 grid.
        count_include_pad: whether average pools count their padding.
        bn_scale: whether batch norm has a weight; TF-slim's has not.
        bn_eps: added to the variance in batch norm.
        return_aux: whether the head runs in inference as well.

    Shape:
        input:  (N, H, W, in_channels), H, W >= 75; where the head runs, 299
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive, or `return_aux`
            without `use_aux`.
    """

    classifier = "fc"
    head_classifiers = ("AuxLogits.fc",)
    grid_layer = "Mixed_7d"
    pooled_layer = "flatten"
    num_features = 1536

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        use_aux: bool = True,
        count_include_pad: bool = False,
        bn_scale: bool = True,
        bn_eps: float = BN_EPS,
        return_aux: bool = False,
        **kwargs: Any,
    ) -> None:
        require_positive(in_channels=in_channels)
        require_classes(num_classes, use_aux)
        require_heads(use_aux, return_aux)
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "use_aux": use_aux,
            "count_include_pad": count_include_pad,
            "bn_scale": bn_scale,
            "bn_eps": bn_eps,
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        conv, norm = conv_norm_act(bn_scale, bn_eps), (bn_scale, bn_eps)
        count = count_include_pad
        # Shapes for an input of in_channels x 299 x 299.
        self.Conv2d_1a_3x3 = conv(in_channels, 32, 3, stride=2)  # 32 x 149 x 149
        self.Conv2d_2a_3x3 = conv(32, 32, 3)  # 32 x 147 x 147
        self.Conv2d_2b_3x3 = conv(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.Mixed_3a = Mixed3a(64, *norm)  # 160 x 73 x 73
        self.Mixed_4a = Mixed4a(160, *norm)  # 192 x 71 x 71
        self.Mixed_5a = Mixed5a(192, *norm)  # 384 x 35 x 35
        self.Mixed_5b = InceptionV4A(384, count, *norm)  # 384 x 35 x 35
        self.Mixed_5c = InceptionV4A(384, count, *norm)  # 384 x 35 x 35
        self.Mixed_5d = InceptionV4A(384, count, *norm)  # 384 x 35 x 35
        self.Mixed_5e = InceptionV4A(384, count, *norm)  # 384 x 35 x 35
        self.Mixed_6a = ReductionA(384, 384, (192, 224, 256), *norm)  # 1024 x 17 x 17
        self.Mixed_6b = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.Mixed_6c = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.Mixed_6d = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.Mixed_6e = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.Mixed_6f = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.Mixed_6g = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.Mixed_6h = InceptionV4B(1024, count, *norm)  # 1024 x 17 x 17
        self.AuxLogits = InceptionAux(1024, num_classes, *norm) if use_aux else None  # num_classes
        self.Mixed_7a = ReductionB(1024, *norm)  # 1536 x 8 x 8
        self.Mixed_7b = InceptionV4C(1536, count, *norm)  # 1536 x 8 x 8
        self.Mixed_7c = InceptionV4C(1536, count, *norm)  # 1536 x 8 x 8
        self.Mixed_7d = InceptionV4C(1536, count, *norm)  # 1536 x 8 x 8
        self.avgpool = GlobalAvgPool()  # 1536 x 1 x 1
        self.dropout = Dropout(0.2)
        self.flatten = Flatten()  # 1536
        self.fc = Linear(1536, num_classes) if num_classes else None  # num_classes
        super().__init__(**kwargs)

    def call(self, x: KerasTensor, training: bool = False) -> KerasTensor | tuple[KerasTensor, ...]:
        heads = training or self.return_aux
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Mixed_5a(self.Mixed_4a(self.Mixed_3a(x)))
        x = self.Mixed_5e(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x))))
        x = self.Mixed_6h(self.Mixed_6g(self.Mixed_6f(self.Mixed_6e(x))))
        aux = self.AuxLogits(x) if heads and self.AuxLogits is not None else None
        x = self.Mixed_7d(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))))
        x = self.flatten(self.dropout(self.avgpool(x)))
        logits = x if self.fc is None else self.fc(x)
        return logits if aux is None else (logits, aux)
