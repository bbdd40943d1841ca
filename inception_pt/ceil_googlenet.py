"""GoogLeNet with batch norm whose pools round up instead of padding."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from .layers import (
    Concat,
    ConvBlock,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    TransformInput,
    require_classes,
    require_heads,
    require_positive,
)
from .network import Network
from .pools import AdaptiveAvgPool, GlobalAvgPool, MaxPool


class CeilInception(nn.Module):
    """Four parallel branches over one input, joined along the channels.

    Source: Szegedy et al. 2014, arXiv:1409.4842, figure 2(b) and table 1.
    Deviation: batch norm in place of the convolutions' biases; ceil mode also in
    the pool of branch 4, where it changes nothing. torchvision's third branch
    has a 3x3 kernel, an accident of its TensorFlow ancestor.

    Args:
        in_channels: channels of the input.
        out_1x1: output channels of branch 1.
        mid_3x3: channels to which branch 2 reduces its input.
        out_3x3: output channels of branch 2.
        mid_5x5: channels to which branch 3 reduces its input.
        out_5x5: output channels of branch 3.
        out_pool: output channels of branch 4, 3x3 max pool then 1x1.
        third_kernel: kernel size of branch 3; 5, or 3 as in torchvision.
        bn_eps: added to the variance in batch norm.

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
        mid_3x3: int,
        out_3x3: int,
        mid_5x5: int,
        out_5x5: int,
        out_pool: int,
        third_kernel: int = 5,
        bn_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        conv = partial(ConvBlock, bias=False, batch_norm=True, bn_eps=bn_eps)
        self.b1 = Sequential(
            conv(in_channels, out_1x1, 1),
        )
        self.b2 = Sequential(
            conv(in_channels, mid_3x3, 1),
            conv(mid_3x3, out_3x3, 3, padding=1),
        )
        self.b3 = Sequential(
            conv(in_channels, mid_5x5, 1),
            conv(mid_5x5, out_5x5, third_kernel, padding=third_kernel // 2),
        )
        self.b4 = Sequential(
            MaxPool(3, stride=1, padding=1, ceil_mode=True),
            conv(in_channels, out_pool, 1),
        )
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        return self.concat(self.b1(x), self.b2(x), self.b3(x), self.b4(x))


class CeilInceptionAux(nn.Module):
    """Auxiliary classifier, on a grid of any size.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 5.
    Deviation: batch norm in place of the convolution's bias, and sixteen adaptive
    windows instead of 5x5/3 ones, from which they differ even on a 14 x 14 grid.

    Args:
        in_channels: channels of the input.
        num_classes: length of the logits.
        bn_eps: added to the variance in batch norm.

    Shape:
        input:  (N, in_channels, H, W)
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        bn_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv = Sequential(
            AdaptiveAvgPool(4),  # in_channels x 4 x 4
            ConvBlock(in_channels, 128, 1, bias=False, batch_norm=True, bn_eps=bn_eps),
        )  # 128 x 4 x 4
        self.flatten = Flatten()  # 2048
        self.fc = Sequential(
            Linear(128 * 4 * 4, 1024),
            ReLU(),
            Dropout(0.7),
            Linear(1024, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flatten(self.conv(x)))


class CeilGoogLeNet(Network):
    """GoogLeNet with batch norm and ceil-mode pools without padding.

    Source: a PyTorch tutorial after Szegedy et al. 2014, arXiv:1409.4842, and
    torchvision's `googlenet`, which is `third_kernel=3, pool4_kernel=2, bn_eps=1e-3`.
    Deviation from the paper: batch norm in place of biases and local response
    normalisation, adaptive pools in the heads, no dropout before the classifier
    (torchvision has 0.2 there). On even grids a ceil-mode pool equals TensorFlow's `same`.

    Returns logits; in training, or with `return_aux`, the tuple (logits, aux2,
    aux1) of the classifier h2, the second head h1 and the first, h0. The tutorial
    returns (h0, h1, h2), and by mistake only h0 when there are no heads.

    Args:
        in_channels: channels of the images.
        num_classes: length of the logits; 0 for no classifier,
            with `use_aux=False`.
        use_aux: whether there are auxiliary heads.
        transform_input: whether images arrive normalised by ImageNet's mean and
            standard deviation and are rescaled to -1 … 1 first (torchvision's
            trained weights expect that).
        third_kernel: kernel size of each block's third branch; 5, or 3 as in torchvision.
        pool4_kernel: window of the last stride-2 pool; 3, or 2 as in torchvision.
        bn_eps: added to the variance in batch norm; torchvision has 1e-3.
        return_aux: whether the heads run in inference as well.

    Shape:
        input:  (N, in_channels, H, W), H, W >= 31; with `pool4_kernel=2`, 15
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive, `third_kernel` is
            not 3 or 5, `pool4_kernel` not 2 or 3, `return_aux` without `use_aux`,
            or `transform_input` without three channels.
    """

    classifier = "h2"
    head_classifiers = ("h1.fc.3", "h0.fc.3")
    grid_layer = "sec3.3"
    pooled_layer = "flatten"
    num_features = 1024

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        use_aux: bool = True,
        transform_input: bool = False,
        third_kernel: int = 5,
        pool4_kernel: int = 3,
        bn_eps: float = 1e-5,
        return_aux: bool = False,
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels)
        require_classes(num_classes, use_aux)
        require_heads(use_aux, return_aux)
        if transform_input and in_channels != 3:
            raise ValueError(f"{in_channels=}, but should be 3 with transform_input=True")
        if third_kernel not in (3, 5):
            raise ValueError(f"{third_kernel=}, but should be 3 or 5")
        if pool4_kernel not in (2, 3):
            raise ValueError(f"{pool4_kernel=}, but should be 2 or 3")
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "use_aux": use_aux,
            "transform_input": transform_input,
            "third_kernel": third_kernel,
            "pool4_kernel": pool4_kernel,
            "bn_eps": bn_eps,
            "return_aux": return_aux,
        }
        self.return_aux = return_aux
        conv = partial(ConvBlock, bias=False, batch_norm=True, bn_eps=bn_eps)
        block = partial(CeilInception, third_kernel=third_kernel, bn_eps=bn_eps)
        aux = partial(CeilInceptionAux, num_classes=num_classes, bn_eps=bn_eps)
        self.transform = TransformInput() if transform_input else None
        # Shapes for an input of in_channels x 224 x 224.
        self.sec0 = Sequential(
            conv(in_channels, 64, 7, 2, 3),  # 64 x 112 x 112
            MaxPool(3, stride=2, ceil_mode=True),  # 64 x 56 x 56
            conv(64, 64, 1),  # 64 x 56 x 56
            conv(64, 192, 3, padding=1),  # 192 x 56 x 56
            MaxPool(3, stride=2, ceil_mode=True),  # 192 x 28 x 28
        )
        self.sec1 = Sequential(
            block(192, 64, 96, 128, 16, 32, 32),  # 256 x 28 x 28
            block(256, 128, 128, 192, 32, 96, 64),  # 480 x 28 x 28
            MaxPool(3, stride=2, ceil_mode=True),  # 480 x 14 x 14
            block(480, 192, 96, 208, 16, 48, 64),  # 512 x 14 x 14
        )
        self.h0 = aux(512) if use_aux else None  # num_classes
        self.sec2 = Sequential(
            block(512, 160, 112, 224, 24, 64, 64),  # 512 x 14 x 14
            block(512, 128, 128, 256, 24, 64, 64),  # 512 x 14 x 14
            block(512, 112, 144, 288, 32, 64, 64),  # 528 x 14 x 14
        )
        self.h1 = aux(528) if use_aux else None  # num_classes
        self.sec3 = Sequential(
            block(528, 256, 160, 320, 32, 128, 128),  # 832 x 14 x 14
            MaxPool(pool4_kernel, stride=2, ceil_mode=True),  # 832 x 7 x 7
            block(832, 256, 160, 320, 32, 128, 128),  # 832 x 7 x 7
            block(832, 384, 192, 384, 48, 128, 128),  # 1024 x 7 x 7
            GlobalAvgPool(),  # 1024 x 1 x 1
        )
        self.flatten = Flatten()  # 1024
        self.h2 = Linear(1024, num_classes) if num_classes else None  # num_classes

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        heads = self.training or self.return_aux
        if self.transform is not None:
            x = self.transform(x)
        x = self.sec1(self.sec0(x))
        aux1 = self.h0(x) if heads and self.h0 is not None else None
        x = self.sec2(x)
        aux2 = self.h1(x) if heads and self.h1 is not None else None
        x = self.flatten(self.sec3(x))
        logits = x if self.h2 is None else self.h2(x)
        if aux1 is None or aux2 is None:
            return logits
        return logits, aux2, aux1
