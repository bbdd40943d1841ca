"""GoogLeNet as in d2l's PyTorch and TensorFlow tabs, which aren't the same network.

The TensorFlow tab uses `padding="same"` where the PyTorch tab states how many pixels. At
stride 2 on an even size TensorFlow pads more at the end, PyTorch the same on both sides.

inception-parity compare-models examples/d2l_googlenet.py:torch_tab \
    examples/d2l_googlenet.py:keras_tab --input 2x1x96x96 --copy-weights
"""

import keras
import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 10


class Inception(nn.Module):
    """Four paths, joined along the channels."""

    def __init__(self, in_channels, c1, c2, c3, c4):
        super().__init__()
        self.b1_1 = nn.Conv2d(in_channels, c1, kernel_size=1)
        self.b2_1 = nn.Conv2d(in_channels, c2[0], kernel_size=1)
        self.b2_2 = nn.Conv2d(c2[0], c2[1], kernel_size=3, padding=1)
        self.b3_1 = nn.Conv2d(in_channels, c3[0], kernel_size=1)
        self.b3_2 = nn.Conv2d(c3[0], c3[1], kernel_size=5, padding=2)
        self.b4_1 = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.b4_2 = nn.Conv2d(in_channels, c4, kernel_size=1)

    def forward(self, x):
        b1 = F.relu(self.b1_1(x))
        b2 = F.relu(self.b2_2(F.relu(self.b2_1(x))))
        b3 = F.relu(self.b3_2(F.relu(self.b3_1(x))))
        b4 = F.relu(self.b4_2(self.b4_1(x)))
        return torch.cat((b1, b2, b3, b4), dim=1)


def torch_tab():
    """The PyTorch tab's network, 1 x 96 x 96 in the book."""
    torch.manual_seed(0)

    def pool():
        return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    b1 = nn.Sequential(nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3), nn.ReLU(), pool())
    b2 = nn.Sequential(
        nn.Conv2d(64, 64, kernel_size=1), nn.ReLU(),
        nn.Conv2d(64, 192, kernel_size=3, padding=1), nn.ReLU(), pool(),
    )  # fmt: skip
    b3 = nn.Sequential(
        Inception(192, 64, (96, 128), (16, 32), 32),
        Inception(256, 128, (128, 192), (32, 96), 64), pool(),
    )  # fmt: skip
    b4 = nn.Sequential(
        Inception(480, 192, (96, 208), (16, 48), 64),
        Inception(512, 160, (112, 224), (24, 64), 64),
        Inception(512, 128, (128, 256), (24, 64), 64),
        Inception(512, 112, (144, 288), (32, 64), 64),
        Inception(528, 256, (160, 320), (32, 128), 128), pool(),
    )  # fmt: skip
    b5 = nn.Sequential(
        Inception(832, 256, (160, 320), (32, 128), 128),
        Inception(832, 384, (192, 384), (48, 128), 128),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    )  # fmt: skip
    net = nn.Sequential(b1, b2, b3, b4, b5, nn.Linear(1024, CLASSES))
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    return net


class KerasInception(keras.Model):
    """The same block in the TensorFlow tab."""

    def __init__(self, c1, c2, c3, c4):
        super().__init__()
        conv = keras.layers.Conv2D
        self.p1_1 = conv(c1, 1, activation="relu")
        self.p2_1 = conv(c2[0], 1, activation="relu")
        self.p2_2 = conv(c2[1], 3, padding="same", activation="relu")
        self.p3_1 = conv(c3[0], 1, activation="relu")
        self.p3_2 = conv(c3[1], 5, padding="same", activation="relu")
        self.p4_1 = keras.layers.MaxPool2D(3, 1, padding="same")
        self.p4_2 = conv(c4, 1, activation="relu")

    def call(self, x):
        p1 = self.p1_1(x)
        p2 = self.p2_2(self.p2_1(x))
        p3 = self.p3_2(self.p3_1(x))
        p4 = self.p4_2(self.p4_1(x))
        return keras.layers.Concatenate()([p1, p2, p3, p4])


def keras_tab():
    """The TensorFlow tab's network."""
    keras.utils.set_random_seed(0)
    conv, layers = keras.layers.Conv2D, keras.layers

    def pool():
        return layers.MaxPool2D(pool_size=3, strides=2, padding="same")

    b1 = [conv(64, 7, strides=2, padding="same", activation="relu"), pool()]
    b2 = [
        conv(64, 1, activation="relu"),
        conv(192, 3, padding="same", activation="relu"), pool(),
    ]  # fmt: skip
    b3 = [
        KerasInception(64, (96, 128), (16, 32), 32),
        KerasInception(128, (128, 192), (32, 96), 64), pool(),
    ]  # fmt: skip
    b4 = [
        KerasInception(192, (96, 208), (16, 48), 64),
        KerasInception(160, (112, 224), (24, 64), 64),
        KerasInception(128, (128, 256), (24, 64), 64),
        KerasInception(112, (144, 288), (32, 64), 64),
        KerasInception(256, (160, 320), (32, 128), 128), pool(),
    ]  # fmt: skip
    b5 = [
        KerasInception(256, (160, 320), (32, 128), 128),
        KerasInception(384, (192, 384), (48, 128), 128),
        layers.GlobalAvgPool2D(), layers.Flatten(),
    ]  # fmt: skip
    stages = [
        keras.Sequential(stage, name=f"b{i}") for i, stage in enumerate((b1, b2, b3, b4, b5), 1)
    ]
    return keras.Sequential([*stages, layers.Dense(CLASSES)], name="d2l_googlenet")
