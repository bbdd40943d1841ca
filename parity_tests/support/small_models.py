"""The same small network in each framework, as its users would write it, with optional mistakes.

A stem (7x7/2 convolution, batch norm, ReLU, pool), two branches, an average pool, a
concatenation, a flatten and a dense layer: where ports go wrong.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

SHAPE = (2, 3, 20, 24)  # not square, so that swapped axes show


def images(seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def mxnet_module() -> Any:
    """Return MXNet, which needs names that NumPy has since removed."""
    for name in ("bool", "object", "int", "float", "complex", "str"):
        if name not in vars(np):
            setattr(np, name, getattr(builtins, name))
    import mxnet

    return mxnet


@contextlib.contextmanager
def older_interface() -> Iterator[Any]:
    """Give MXNet its older interface, `mx.nd`, which importing `inception_mx` takes from it."""
    mxnet = mxnet_module()
    with mxnet.util.np_array(False), mxnet.util.np_shape(False):
        yield mxnet


def torch_net(
    pad: int = 3, eps: float = 1e-3, activation: str = "relu", surplus: bool = False,
    reverse: bool = False,
) -> Any:  # fmt: skip
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 8, 7, stride=2, padding=pad),
                nn.BatchNorm2d(8, eps=eps),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(3, stride=2, padding=1),
            )
            self.left = nn.Conv2d(8, 6, 1)
            self.right1 = nn.Conv2d(8, 4, 1)
            self.right2 = nn.Conv2d(4, 6, 3, padding=1)
            self.drop = nn.Dropout(0.5)
            self.fc = nn.Linear(20 * (5 * 6 if pad == 3 else 3 * 4), 10)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            left = getattr(F, activation)(self.left(x))
            if surplus:
                left = torch.tanh(left)
            right = F.relu(self.right2(F.relu(self.right1(x))))
            pool = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
            parts = [right, left, pool] if reverse else [left, right, pool]
            return self.fc(self.drop(torch.flatten(torch.cat(parts, 1), 1)))

    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.stem[1].running_mean.normal_(0, 0.3)
        net.stem[1].running_var.uniform_(0.5, 2.0)
        net.stem[1].weight.uniform_(0.5, 1.5)
        net.stem[1].bias.normal_(0, 0.3)
    return net.train()  # capturing must switch to inference itself


def keras_net(same: bool = False, eps: float = 1e-3) -> Any:
    """A subclassed model; with `same`, the stem pads as TensorFlow does."""
    import keras
    from keras import layers

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.left = layers.Conv2D(6, 1, activation="relu")
            self.right1 = layers.Conv2D(4, 1, activation="relu")
            self.right2 = layers.Conv2D(6, 3, padding="same", activation="relu")
            self.pool = layers.AveragePooling2D(3, 1, padding="same")

        def call(self, x: Any) -> Any:
            right = self.right2(self.right1(x))  # called before the left one, unlike elsewhere
            return layers.Concatenate()([self.left(x), right, self.pool(x)])

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.pad = layers.ZeroPadding2D(3)
            self.conv = layers.Conv2D(8, 7, strides=2, padding="same" if same else "valid")
            self.norm = layers.BatchNormalization(epsilon=eps, momentum=0.9)
            self.pad2 = layers.ZeroPadding2D(1)
            self.pool = layers.MaxPooling2D(3, strides=2)
            self.block = Block()
            self.flat = layers.Flatten()
            self.fc = layers.Dense(10)

        def call(self, x: Any) -> Any:
            x = self.conv(x if same else self.pad(x))
            x = self.pool(self.pad2(keras.ops.relu(self.norm(x))))
            return self.fc(self.flat(self.block(x)))

    keras.utils.set_random_seed(0)
    return Net()


def functional_keras_net() -> Any:
    """The same as a functional model, in which Keras runs layers by depth."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    given = keras.Input((SHAPE[2], SHAPE[3], 3))
    x = layers.Conv2D(8, 7, strides=2, name="conv")(layers.ZeroPadding2D(3)(given))
    x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-3, momentum=0.9)(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    left = layers.Activation("relu")(layers.Conv2D(6, 1)(x))
    right = layers.Conv2D(6, 3, padding="same", activation="relu")(
        layers.Conv2D(4, 1, activation="relu")(x)
    )
    pool = layers.AveragePooling2D(3, 1, padding="same")(x)
    joined = layers.Concatenate()([left, right, pool])
    return keras.Model(given, layers.Dense(10)(layers.Flatten()(layers.Dropout(0.5)(joined))))


def gluon_net(hybridize: bool = True, counts_padding: bool = False) -> Any:
    mxnet = mxnet_module()
    from mxnet.gluon import nn

    class Net(mxnet.gluon.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.HybridSequential()
            self.stem.add(
                nn.Conv2D(8, 7, 2, 3),
                nn.BatchNorm(epsilon=1e-3),
                nn.Activation("relu"),
                nn.MaxPool2D(3, 2, 1),
            )
            self.left = nn.Conv2D(6, 1, activation="relu")
            self.right1 = nn.Conv2D(4, 1, activation="relu")
            self.right2 = nn.Conv2D(6, 3, padding=1, activation="relu")
            self.pool = nn.AvgPool2D(3, 1, 1, count_include_pad=counts_padding)
            self.fc = nn.Dense(10)

        def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
            x = self.stem(x)
            parts = [self.left(x), self.right2(self.right1(x)), self.pool(x)]
            newer = mxnet.util.is_np_array()
            joined = F.np.concatenate(parts, axis=1) if newer else F.concat(*parts, dim=1)
            return self.fc(joined)

    net = Net()
    net.initialize()
    if hybridize:
        net.hybridize()
    return net
