"""Images that are enlarged inside a model, by each framework's rules, and dense layers as 1x1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .chains import keras_chain, torch_chain
from .norms import COPY
from .onnx_files import onnx_model
from .pair import Fault, Pair, normal
from .rearrangements import IMAGES, SHAPE, gluon_images, keras_images, torch_images

SIZE = (9, 14)  # of images of 5x6: not by a whole factor


def torch_resized(**how: Any) -> Any:
    """Two convolutions with a resize and a ReLU between."""
    return torch_images(lambda nn: nn.Upsample(SIZE, **how))


def onnx_resized(**how: Any) -> Any:
    """The same in ONNX."""
    made = torch_images(lambda nn: nn.ReLU()).state_dict()
    state = {name: tensor.detach().numpy() for name, tensor in made.items()}
    nodes: list[Any] = [
        ("Conv", "x 0.weight 0.bias", "a", {}),
        ("Resize", "a - - size", "b", how),
        ("Relu", "b", "c", {}),
        ("Conv", "c 3.weight 3.bias", "out", {}),
    ]
    return onnx_model(nodes, state | {"size": [2, 4, *SIZE]}, {"x": IMAGES})


def keras_resized(resize: Callable[[Any], Any] | None = None, **how: Any) -> Any:
    """The same in Keras: by its own layer, or by a function of TensorFlow."""

    def layer(layers: Any) -> Any:
        return layers.Resizing(*SIZE, **how) if resize is None else layers.Lambda(resize)

    return keras_images(layer)


def tensorflow_1(x: Any) -> Any:
    """TensorFlow 1's own rule, in which a pixel's position is that of its corner."""
    import tensorflow as tf

    return tf.compat.v1.image.resize_bilinear(x, SIZE)


def gluon_resized(aligned: bool) -> Any:
    """The same in Gluon, whose own default is to align the corners."""
    height, width = SIZE
    how = {"height": height, "width": width, "align_corners": aligned}

    def resize(ops: Any, x: Any) -> Any:
        return ops.contrib.BilinearResize2D(x, **how)

    return gluon_images(lambda nn: nn.HybridLambda(resize))


def torch_head() -> Any:
    """A pooled image, and a dense layer."""
    return torch_chain(lambda nn: [
        nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Tanh(),
    ])  # fmt: skip


def keras_head() -> Any:
    """The same with a convolution of one pixel, as in Keras' MobileNetV3."""
    return keras_chain(
        lambda layers: [
            layers.Conv2D(4, 1), layers.GlobalAveragePooling2D(keepdims=True),
            layers.Conv2D(5, 1), layers.Activation("tanh"), layers.Flatten(),
        ],
        SHAPE,
    )  # fmt: skip


BILINEAR = {"mode": "bilinear"}
LINEAR = partial(onnx_resized, mode="linear")
NEAREST = partial(onnx_resized, mode="nearest")

PAIRS = (
    Pair(
        "bilinear", "pt-onnx", partial(torch_resized, **BILINEAR), LINEAR, normal(*IMAGES),
        (
            Fault("by corners", partial(LINEAR, coordinate_transformation_mode="asymmetric"), "1",
                  "resize"),
            Fault("corners aligned",
                  partial(LINEAR, coordinate_transformation_mode="align_corners"), "1", "resize"),
            Fault("nearest", partial(NEAREST, coordinate_transformation_mode="asymmetric",
                                     nearest_mode="floor"), "1", "resize"),
        ),
    ),
    Pair(
        "nearest", "pt-onnx", torch_resized,
        partial(NEAREST, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        normal(*IMAGES),
        (Fault("half pixels", NEAREST, "1", "resize"),),
    ),
    Pair(
        "aligned", "pt-mx", partial(torch_resized, **BILINEAR, align_corners=True),
        partial(gluon_resized, True), normal(*IMAGES),
        (Fault("half pixels", partial(gluon_resized, False), "1", "resize"),), COPY,
    ),
    Pair(
        "bilinear", "pt-tf", partial(torch_resized, **BILINEAR), keras_resized, normal(*IMAGES),
        (
            Fault("TensorFlow 1's", partial(keras_resized, tensorflow_1), "1", "resize"),
            Fault("nearest", partial(keras_resized, interpolation="nearest"), "1", "resize"),
        ),
        COPY,
    ),
    Pair("dense-as-1x1", "pt-tf", torch_head, keras_head, normal(*IMAGES), (), COPY),
)  # fmt: skip
