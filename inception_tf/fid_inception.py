"""The network of the FID: Inception-v3 as trained in 2015, with its own pools and resize."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import KerasTensor

from .inception_v3 import (
    BN_EPS,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)
from .layers import (
    ConvBlock,
    Flatten,
    Linear,
    Rescale,
    Resize,
    require_classes,
    require_positive,
)
from .network import Network
from .pools import GlobalAvgPool, MaxPool

FEATURES = (64, 192, 768, 2048)  # after maxpool1, maxpool2, Mixed_6e and Mixed_7c


@keras.saving.register_keras_serializable("inception_tf")
class FIDInception(Network):
    """Inception-v3 of 2015-12-05, whose features the Fréchet inception distance compares.

    Source: Heusel et al. 2017, arXiv:1706.08500, whose code runs TensorFlow's graph
    `inception-2015-12-05`; pytorch-fid and torch-fidelity, which have its weights.
    Deviation: set by the arguments. pytorch-fid resizes with half-pixel centres.

    It is InceptionV3 with 1008 classes, without an auxiliary head or dropout. Average
    pools don't count their padding, and the last block has a max pool in place of one.
    Images in 0 … 1 are resized to 299 x 299 and mapped to -1 … 1 by 2x - 1: pixels / 255
    in pytorch-fid; in TensorFlow and torch-fidelity pixels / 256.

    Args:
        in_channels: channels of the images.
        num_classes: length of the logits; 0 for no classifier.
        resize: whether images are resized to 299 x 299.
        half_pixel_centres: whether they are so with half-pixel centres, as in
            pytorch-fid, or without, as in TensorFlow 1 and torch-fidelity.

    Shape:
        input:  (N, H, W, in_channels); without `resize` H, W >= 75
        output: (N, num_classes), logits

    Raises:
        ValueError: a channel or class count is not positive.
    """

    classifier = "fc"
    grid_layer = "Mixed_7c"
    pooled_layer = "flatten"
    num_features = 2048

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1008,
        resize: bool = True,
        half_pixel_centres: bool = False,
        **kwargs: Any,
    ) -> None:
        require_positive(in_channels=in_channels)
        require_classes(num_classes)
        self.options = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "resize": resize,
            "half_pixel_centres": half_pixel_centres,
        }
        conv = partial(ConvBlock, bias=False, batch_norm=True, bn_eps=BN_EPS)
        # Shapes for an input of in_channels x 299 x 299, or of any size with resize.
        self.resize = Resize(299, half_pixel_centres) if resize else None
        self.rescale = Rescale(2.0, -1.0)  # in_channels x 299 x 299
        self.Conv2d_1a_3x3 = conv(in_channels, 32, 3, stride=2)  # 32 x 149 x 149
        self.Conv2d_2a_3x3 = conv(32, 32, 3)  # 32 x 147 x 147
        self.Conv2d_2b_3x3 = conv(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.maxpool1 = MaxPool(3, stride=2)  # 64 x 73 x 73
        self.Conv2d_3b_1x1 = conv(64, 80, 1)  # 80 x 73 x 73
        self.Conv2d_4a_3x3 = conv(80, 192, 3)  # 192 x 71 x 71
        self.maxpool2 = MaxPool(3, stride=2)  # 192 x 35 x 35
        self.Mixed_5b = InceptionA(192, 32)  # 256 x 35 x 35
        self.Mixed_5c = InceptionA(256, 64)  # 288 x 35 x 35
        self.Mixed_5d = InceptionA(288, 64)  # 288 x 35 x 35
        self.Mixed_6a = InceptionB(288)  # 768 x 17 x 17
        self.Mixed_6b = InceptionC(768, 128)  # 768 x 17 x 17
        self.Mixed_6c = InceptionC(768, 160)  # 768 x 17 x 17
        self.Mixed_6d = InceptionC(768, 160)  # 768 x 17 x 17
        self.Mixed_6e = InceptionC(768, 192)  # 768 x 17 x 17
        self.Mixed_7a = InceptionD(768)  # 1280 x 8 x 8
        self.Mixed_7b = InceptionE(1280)  # 2048 x 8 x 8
        self.Mixed_7c = InceptionE(2048, max_pool=True)  # 2048 x 8 x 8
        self.avgpool = GlobalAvgPool()  # 2048 x 1 x 1
        self.flatten = Flatten()  # 2048
        self.fc = Linear(2048, num_classes) if num_classes else None  # num_classes
        super().__init__(**kwargs)

    def call(self, x: KerasTensor, training: bool = False) -> KerasTensor:
        x = self.flatten(self.avgpool(self.grid(x, 2048)))
        return x if self.fc is None else self.fc(x)

    def features(self, x: KerasTensor, width: int = 2048, *, pooled: bool = True) -> KerasTensor:
        """Return (N, width): the mean over the grid of 64, 192, 768 or 2048 channels.

        Args:
            x: images.
            width: number of features.
            pooled: False for the grid itself.

        Raises:
            ValueError: there are no features of that width.
        """
        if width not in FEATURES:
            raise ValueError(f"{width=}, but should be one of {FEATURES}")
        self.require_floats(x)
        x = self.grid(x, width)
        return self.flatten(self.avgpool(x)) if pooled else x

    def grid(self, x: KerasTensor, width: int) -> KerasTensor:
        """Return the features of that width before the mean over their grid."""
        if self.resize is not None:
            x = self.resize(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(self.rescale(x))))
        x = self.maxpool1(x)
        if width > 64:
            x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        if width > 192:
            x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
            x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        if width > 768:
            x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x
