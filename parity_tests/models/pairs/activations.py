"""Activations: exact and approximated, slopes, the softmax's axis, PReLU's shared slopes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .chains import gluon_chain, keras_chain, torch_chain
from .norms import COPY
from .onnx_files import onnx_model
from .pair import Fault, Pair, normal

ROWS = (4, 6)
IMAGES = (2, 3, 7, 6)
SHAPE = (7, 6, 3)  # of an image, channels last


def torch_rows(act: Callable[[Any], Any]) -> Any:
    """A dense layer, an activation, a dense layer."""
    return torch_chain(lambda nn: [nn.Linear(6, 8), act(nn), nn.Linear(8, 4)])


def keras_rows(act: Any) -> Any:
    """The same in Keras, with the activation in the first layer."""
    return keras_chain(lambda layers: [layers.Dense(8, activation=act), layers.Dense(4)], ROWS[1:])


def keras_layer(act: Callable[[Any], Any]) -> Any:
    """The same in Keras, with a layer for the activation."""
    return keras_chain(lambda layers: [layers.Dense(8), act(layers), layers.Dense(4)], ROWS[1:])


def gluon_rows(act: Callable[[Any], Any]) -> Any:
    """The same in Gluon."""
    return gluon_chain(lambda nn: [nn.Dense(8), act(nn), nn.Dense(4)])


def gluon_hard_sigmoid(slope: float) -> Any:
    """The same with a hard sigmoid, for which Gluon has no layer."""
    return gluon_rows(lambda nn: nn.HybridLambda(lambda f, x: f.hard_sigmoid(x, alpha=slope)))


def onnx_rows(operator: str, opset: int = 20, **attributes: Any) -> Any:
    """The same in ONNX."""
    rng = np.random.default_rng(0)
    constants = {"a.weight": rng.normal(size=(8, 6)), "a.bias": rng.normal(size=8),
                 "b.weight": rng.normal(size=(4, 8)), "b.bias": rng.normal(size=4)}  # fmt: skip
    nodes: list[Any] = [
        ("Gemm", "x a.weight a.bias", "y", {"transB": 1}),
        (operator, "y", "z", attributes),
        ("Gemm", "z b.weight b.bias", "out", {"transB": 1}),
    ]
    return onnx_model(nodes, constants, {"x": ROWS}, opset)


def approximate(x: Any) -> Any:
    """GELU as its approximation by tanh."""
    import keras

    return keras.activations.gelu(x, approximate=True)


def torch_images(act: Callable[[Any], Any]) -> Any:
    """A convolution, an activation, a convolution."""
    return torch_chain(lambda nn: [nn.Conv2d(3, 5, 3), act(nn), nn.Conv2d(5, 4, 1)])


def keras_images(act: Callable[[Any], Any]) -> Any:
    """The same in Keras."""
    return keras_chain(
        lambda layers: [layers.Conv2D(5, 3), act(layers), layers.Conv2D(4, 1)], SHAPE
    )


def one_slope() -> Any:
    """A PReLU with one slope for all channels."""
    return torch_images(lambda nn: nn.PReLU())


def prelu_onnx(shared: bool = False) -> Any:
    """A PReLU in ONNX with a slope for each channel, or one for all."""
    net = torch_images(lambda nn: nn.PReLU(5))
    constants = {name: array.detach().numpy() for name, array in net.named_parameters()}
    slopes = constants.pop("1.weight").reshape(5, 1, 1)
    constants["slopes"] = np.full_like(slopes, slopes.mean()) if shared else slopes
    nodes: list[Any] = [
        ("Conv", "x 0.weight 0.bias", "y", {}), ("PRelu", "y slopes", "z", {}),
        ("Conv", "z 2.weight 2.bias", "out", {}),
    ]  # fmt: skip
    return onnx_model(nodes, constants, {"x": IMAGES})


PAIRS = (
    Pair(
        "gelu", "pt-onnx", partial(torch_rows, lambda nn: nn.GELU()), partial(onnx_rows, "Gelu"),
        normal(*ROWS),
        (
            Fault("by tanh", partial(onnx_rows, "Gelu", approximate="tanh"), "1",
                  "other-activation"),
        ),
        COPY,
    ),
    Pair(
        "gelu", "pt-tf", partial(torch_rows, lambda nn: nn.GELU(approximate="tanh")),
        partial(keras_rows, approximate), normal(*ROWS),
        (Fault("exact", partial(keras_rows, "gelu"), "1", "other-activation"),), COPY,
    ),
    Pair(
        "silu", "pt-tf", partial(torch_rows, lambda nn: nn.SiLU()), partial(keras_rows, "silu"),
        normal(*ROWS),
        (Fault("hard swish", partial(keras_rows, "hard_silu"), "1", "other-activation"),), COPY,
    ),
    Pair(
        "hard-sigmoid", "pt-onnx", partial(torch_rows, lambda nn: nn.Hardsigmoid()),
        partial(onnx_rows, "HardSigmoid", alpha=1 / 6), normal(*ROWS),
        (Fault("ONNX's usual slope", partial(onnx_rows, "HardSigmoid"), "1", "slope"),), COPY,
    ),
    Pair(
        "hard-sigmoid", "onnx-mx", partial(onnx_rows, "HardSigmoid", alpha=0.25),
        partial(gluon_hard_sigmoid, 0.25),
        normal(*ROWS),
        (
            Fault("MXNet's usual slope", partial(gluon_hard_sigmoid, 0.2), "z", "slope"),
        ),
        COPY,
    ),
    Pair(
        "hard-swish", "pt-onnx", partial(torch_rows, lambda nn: nn.Hardswish()),
        partial(onnx_rows, "HardSwish"), normal(*ROWS),
        (Fault("sigmoid", partial(onnx_rows, "Sigmoid"), "1", "other-activation"),), COPY,
    ),
    Pair(
        "leaky-relu", "pt-tf", partial(torch_rows, lambda nn: nn.LeakyReLU(0.25)),
        partial(keras_layer, lambda layers: layers.LeakyReLU(0.25)), normal(*ROWS),
        (
            Fault("Keras' usual slope", partial(keras_layer, lambda layers: layers.LeakyReLU()),
                  "1", "slope"),
            Fault("relu", partial(keras_rows, "relu"), "1", "other-activation"),
        ),
        COPY,
    ),
    Pair(
        "leaky-relu", "pt-mx", partial(torch_rows, lambda nn: nn.LeakyReLU(0.25)),
        partial(gluon_rows, lambda nn: nn.LeakyReLU(0.25)), normal(*ROWS),
        (Fault("another slope", partial(gluon_rows, lambda nn: nn.LeakyReLU(0.125)), "1",
               "slope"),),
        COPY,
    ),
    Pair(
        "elu", "pt-tf", partial(torch_rows, lambda nn: nn.ELU(0.5)),
        partial(keras_layer, lambda layers: layers.ELU(0.5)), normal(*ROWS),
        (
            Fault("Keras' usual factor", partial(keras_layer, lambda layers: layers.ELU()), "1",
                  "slope"),
            Fault("selu", partial(keras_rows, "selu"), "1", "other-activation"),
        ),
        COPY,
    ),
    Pair(
        "softmax", "pt-tf", partial(torch_images, lambda nn: nn.Softmax(1)),
        partial(keras_images, lambda layers: layers.Softmax(-1)), normal(*IMAGES),
        (
            Fault("along the width",
                  partial(keras_images, lambda layers: layers.Softmax(2)), "1", "softmax-axis"),
            Fault("sigmoid", partial(
                keras_images, lambda layers: layers.Activation("sigmoid")), "1",
                "other-activation"),
        ),
        COPY,
    ),
    Pair(
        "log-softmax", "pt-onnx", partial(torch_rows, lambda nn: nn.LogSoftmax(1)),
        partial(onnx_rows, "LogSoftmax"), normal(*ROWS),
        (
            Fault("along the batch", partial(onnx_rows, "LogSoftmax", axis=0), "1",
                  "softmax-axis"),
            Fault("no logarithm", partial(onnx_rows, "Softmax"), "1", "other-activation"),
        ),
        COPY,
    ),
    Pair(
        "prelu", "pt-tf", partial(torch_images, lambda nn: nn.PReLU(5)),
        partial(keras_images, lambda layers: layers.PReLU(shared_axes=[1, 2])), normal(*IMAGES),
        (), COPY,
    ),
    Pair(
        "prelu-for-all", "pt-tf", one_slope,
        partial(keras_images, lambda layers: layers.PReLU()), normal(*IMAGES), (), COPY,
    ),
    Pair(
        "prelu", "pt-onnx", partial(torch_images, lambda nn: nn.PReLU(5)), prelu_onnx,
        normal(*IMAGES),
        (Fault("one slope", partial(prelu_onnx, shared=True), "1", "prelu-slopes"),),
    ),
)  # fmt: skip
