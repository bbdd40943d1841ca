"""Layer, group, instance and RMS norm: eps, axes, groups, scale and shift; momentum."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .chains import gluon_chain, keras_chain, torch_chain
from .onnx_files import onnx_model
from .pair import Fault, Pair, normal

EPS = 2.0**-17  # about 8e-6, and a number of float32: MXNet computes in it
COPY = {"copy_weights": True}
TOKENS = (2, 5, 6)  # (N, T, C)
IMAGES = (2, 3, 7, 6)
SHAPE = (7, 6, 3)  # of an image, channels last


def torch_tokens(norm: str, eps: float = EPS) -> Any:
    """A dense layer, a norm over the features, a dense layer."""
    return torch_chain(lambda nn: [nn.Linear(6, 8), getattr(nn, norm)(8, eps=eps), nn.Linear(8, 4)])


def keras_tokens(norm: str, **settings: Any) -> Any:
    """The same in Keras."""
    settings = {"epsilon": EPS, **settings}
    return keras_chain(
        lambda layers: [layers.Dense(8), getattr(layers, norm)(**settings), layers.Dense(4)],
        TOKENS[1:],
    )


def gluon_tokens(**settings: Any) -> Any:
    """The same in Gluon."""
    settings = {"epsilon": EPS, **settings}
    return gluon_chain(
        lambda nn: [
            nn.Dense(8, flatten=False), nn.LayerNorm(**settings), nn.Dense(4, flatten=False),
        ]
    )  # fmt: skip


def onnx_tokens(norm: str = "LayerNormalization", opset: int = 17, **settings: Any) -> Any:
    """The same in ONNX."""
    rng = np.random.default_rng(0)
    constants = {"a.weight": rng.normal(size=(6, 8)), "a.bias": rng.normal(size=8),
                 "n.weight": rng.normal(size=8), "n.bias": rng.normal(size=8),
                 "b.weight": rng.normal(size=(8, 4)), "b.bias": rng.normal(size=4)}  # fmt: skip
    settings = {"epsilon": EPS, "axis": -1, **settings}
    roles = "n.weight n.bias" if norm == "LayerNormalization" else "n.weight"
    nodes: list[Any] = [
        ("MatMul", "x a.weight", "m", {}), ("Add", "m a.bias", "y", {}),
        (norm, f"y {roles}", "z", settings),
        ("MatMul", "z b.weight", "k", {}), ("Add", "k b.bias", "out", {}),
    ]  # fmt: skip
    return onnx_model(nodes, constants, {"x": TOKENS}, opset)


def torch_images(norm: Any) -> Any:
    """A convolution, a norm, a convolution."""
    return torch_chain(lambda nn: [nn.Conv2d(3, 6, 3), norm(nn), nn.Conv2d(6, 4, 1)])


def equal_in_groups() -> Any:
    """One weight for each group, as MXNet has it."""
    net = torch_images(lambda nn: nn.GroupNorm(3, 6, eps=EPS))
    for parameter in net[1].parameters():
        parameter.data = parameter.data[::2].repeat_interleave(2)
    return net


def keras_images(norm: Any) -> Any:
    """The same in Keras."""
    return keras_chain(
        lambda layers: [layers.Conv2D(6, 3), norm(layers), layers.Conv2D(4, 1)], SHAPE
    )


def gluon_images(norm: Any) -> Any:
    """The same in Gluon."""
    return gluon_chain(lambda nn: [nn.Conv2D(6, 3), norm(nn), nn.Conv2D(4, 1)])


def groups(count: int, eps: float = EPS) -> Any:
    """Keras' group norm."""
    return lambda layers: layers.GroupNormalization(count, epsilon=eps)


AS_GIVEN = {**COPY, "layout_b": "NCHW"}

PAIRS = (
    Pair(
        "layer-norm", "pt-tf", partial(torch_tokens, "LayerNorm"),
        partial(keras_tokens, "LayerNormalization"), normal(*TOKENS),
        (
            Fault("Keras' usual eps", partial(keras_tokens, "LayerNormalization", epsilon=1e-3),
                  "1", "eps"),
            Fault("over the steps", partial(keras_tokens, "LayerNormalization", axis=(1, 2)),
                  "1", "norm-axes"),
            Fault("RMS norm", partial(keras_tokens, "RMSNormalization"), "1",
                  "mean-not-subtracted"),
            Fault("no scale", partial(keras_tokens, "LayerNormalization", scale=False), "1",
                  "gamma-missing"),
            Fault("no centre", partial(keras_tokens, "LayerNormalization", center=False), "1",
                  "beta-missing"),
        ),
        AS_GIVEN,
    ),
    Pair(
        "layer-norm", "pt-mx", partial(torch_tokens, "LayerNorm"), gluon_tokens, normal(*TOKENS),
        (
            Fault("eps", partial(gluon_tokens, epsilon=2.0**-10), "1", "eps"),
        ),
        COPY,
    ),
    Pair(
        "layer-norm", "pt-onnx", partial(torch_tokens, "LayerNorm"), onnx_tokens, normal(*TOKENS),
        (Fault("eps", partial(onnx_tokens, epsilon=1e-3), "1", "eps"),), COPY,
    ),
    Pair(
        "rms-norm", "pt-tf", partial(torch_tokens, "RMSNorm"),
        partial(keras_tokens, "RMSNormalization"), normal(*TOKENS),
        (
            Fault("eps", partial(keras_tokens, "RMSNormalization", epsilon=1e-3), "1", "eps"),
            Fault("layer norm", partial(keras_tokens, "LayerNormalization", center=False), "1",
                  "mean-subtracted"),
        ),
        AS_GIVEN,
    ),
    Pair(
        "group-norm", "pt-tf", partial(torch_images, lambda nn: nn.GroupNorm(3, 6, eps=EPS)),
        partial(keras_images, groups(3)), normal(*IMAGES),
        (
            Fault("another number of groups", partial(keras_images, groups(2)), "1",
                  "norm-groups"),
            Fault("instance norm", partial(keras_images, groups(-1)), "1", "norm-groups"),
            Fault("Keras' usual eps", partial(keras_images, groups(3, 1e-3)), "1", "eps"),
            Fault("layer norm over the channels", partial(
                keras_images, lambda layers: layers.LayerNormalization(epsilon=EPS)), "1",
                "norm-axes"),
        ),
        COPY,
    ),
    Pair(
        "group-norm", "pt-mx", equal_in_groups,
        partial(gluon_images, lambda nn: nn.GroupNorm(3, epsilon=EPS)), normal(*IMAGES),
        (
            Fault("eps", partial(gluon_images, lambda nn: nn.GroupNorm(3, epsilon=2.0**-10)), "1",
                  "eps"),
        ),
        COPY,
    ),
    Pair(
        "instance-norm", "pt-tf",
        partial(torch_images, lambda nn: nn.InstanceNorm2d(6, eps=EPS, affine=True)),
        partial(keras_images, groups(-1)), normal(*IMAGES),
        (
            Fault("one group", partial(keras_images, groups(1)), "1", "norm-groups"),
            Fault("eps", partial(keras_images, groups(-1, 1e-3)), "1", "eps"),
        ),
        COPY,
    ),
    Pair(
        "instance-norm", "pt-mx",
        partial(torch_images, lambda nn: nn.InstanceNorm2d(6, eps=EPS, affine=True)),
        partial(gluon_images, lambda nn: nn.InstanceNorm(epsilon=EPS)), normal(*IMAGES),
        (
            Fault("eps", partial(gluon_images, lambda nn: nn.InstanceNorm(epsilon=2.0**-10)), "1",
                  "eps"),
        ),
        COPY,
    ),
    Pair(
        "batch-norm", "pt-tf", partial(torch_images, lambda nn: nn.BatchNorm2d(6)),
        partial(keras_images, lambda layers: layers.BatchNormalization(epsilon=1e-5)),
        normal(*IMAGES),
        (
            Fault("Keras' usual eps",
                  partial(keras_images, lambda layers: layers.BatchNormalization()), "1", "eps"),
        ),
        COPY,
    ),
)  # fmt: skip
