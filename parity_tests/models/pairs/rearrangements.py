"""Transposed, depthwise and separable convolutions, pixel shuffles, lengths, pads, reductions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .chains import gluon_chain, keras_chain, torch_chain
from .norms import COPY
from .onnx_files import onnx_model
from .pair import Fault, Pair, normal

IMAGES = (2, 3, 5, 6)
SHAPE = (5, 6, 3)  # of an image, channels last
BLOCKS = (2, 3, 6, 8)


def torch_images(layer: Any) -> Any:
    """A convolution, the layer, a ReLU, a convolution."""
    return torch_chain(lambda nn: [nn.Conv2d(3, 4, 1), layer(nn), nn.ReLU(), nn.Conv2d(4, 2, 1)])


def keras_images(layer: Any) -> Any:
    """The same in Keras."""
    return keras_chain(
        lambda layers: [layers.Conv2D(4, 1), layer(layers), layers.ReLU(), layers.Conv2D(2, 1)],
        SHAPE,
    )


def gluon_images(layer: Any) -> Any:
    """The same in Gluon."""
    return gluon_chain(
        lambda nn: [nn.Conv2D(4, 1), layer(nn), nn.Activation("relu"), nn.Conv2D(2, 1)]
    )


def torch_transposed(padding: int = 1, more: int = 1) -> Any:
    """A transposed convolution of 3x3 at stride 2."""
    return torch_images(lambda nn: nn.ConvTranspose2d(4, 4, 3, 2, padding, more))


def torch_cut() -> Any:
    """One that is cut as Keras does: nothing before, a pixel after."""
    import torch
    from torch import nn

    class Cut(nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x)[:, :, :-1, :-1]

    torch.manual_seed(0)
    return torch_images(lambda nn: Cut(nn.ConvTranspose2d(4, 4, 3, 2)))


def keras_transposed(padding: str = "same") -> Any:
    """Keras' transposed convolution, which cuts (0, 1)."""
    return keras_images(lambda layers: layers.Conv2DTranspose(4, 3, 2, padding, name="deconv"))


def gluon_transposed(padding: int = 1, more: int = 1) -> Any:
    """Gluon's transposed convolution."""
    return gluon_images(lambda nn: nn.Conv2DTranspose(4, 3, 2, padding, more))


def onnx_transposed(
    pads: tuple[int, ...] = (1, 1, 1, 1), more: int = 1, turned: bool = False
) -> Any:
    """ONNX's transposed convolution, with the weights of torch's."""
    state = {k: v.detach().numpy() for k, v in torch_transposed().state_dict().items()}
    if turned:
        state["1.weight"] = state["1.weight"][:, :, ::-1, ::-1]
    settings = {"strides": [2, 2], "pads": list(pads), "output_padding": [more, more]}
    nodes: list[Any] = [
        ("Conv", "x 0.weight 0.bias", "a", {}),
        ("ConvTranspose", "a 1.weight 1.bias", "b", settings),
        ("Relu", "b", "c", {}), ("Conv", "c 3.weight 3.bias", "out", {}),
    ]  # fmt: skip
    return onnx_model(nodes, state, {"x": IMAGES})


def torch_shuffled(down: bool = False) -> Any:
    """A pixel shuffle between two convolutions, or its inverse."""
    if down:
        return torch_chain(lambda nn: [nn.PixelUnshuffle(2), nn.Conv2d(12, 2, 1)])
    return torch_chain(lambda nn: [nn.Conv2d(3, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 2, 1)])


def onnx_shuffled(mode: str) -> Any:
    """The same in ONNX."""
    state = {k: v.detach().numpy() for k, v in torch_shuffled().state_dict().items()}
    nodes: list[Any] = [
        ("Conv", "x 0.weight 0.bias", "a", {}),
        ("DepthToSpace", "a", "b", {"blocksize": 2, "mode": mode}),
        ("Conv", "b 2.weight 2.bias", "out", {}),
    ]  # fmt: skip
    return onnx_model(nodes, state, {"x": BLOCKS})


def onnx_unshuffled(right: bool) -> Any:
    """The inverse: of three nodes where it is right, or SpaceToDepth, which counts otherwise."""
    state = {k: v.detach().numpy() for k, v in torch_shuffled(True).state_dict().items()}
    nodes: list[Any] = [("SpaceToDepth", "x", "b", {"blocksize": 2})]
    if right:
        state |= {"six": np.array([0, 3, 3, 2, 4, 2]), "four": np.array([0, 12, 3, 4])}
        order = [0, 1, 3, 5, 2, 4]
        nodes = [("Reshape", "x six", "r", {}), ("Transpose", "r", "t", {"perm": order}),
                 ("Reshape", "t four", "b", {})]  # fmt: skip
    nodes.append(("Conv", "b 1.weight 1.bias", "out", {}))
    return onnx_model(nodes, state, {"x": BLOCKS})


def keras_shuffled(right: bool) -> Any:
    """TensorFlow's depth_to_space, which counts block by block, on channels moved before."""
    import keras
    import tensorflow

    class Shuffle(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = keras.layers.Conv2D(8, 1), keras.layers.Conv2D(2, 1)

        def call(self, x: Any) -> Any:
            x = self.one(x)
            if right:
                x = keras.ops.take(x, [0, 4, 1, 5, 2, 6, 3, 7], axis=-1)
            return self.other(tensorflow.nn.depth_to_space(x, 2))

    keras.utils.set_random_seed(0)
    return Shuffle()


def torch_unit(eps: float = 1e-12) -> Any:
    """Rows of unit length."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Any) -> Any:
            return nn.functional.normalize(self.fc(x), eps=eps)

    torch.manual_seed(0)
    return Net().eval()


def gluon_unit(eps: float) -> Any:
    """The same in Gluon, which adds eps to the squared length."""
    return gluon_chain(
        lambda nn: [nn.Dense(4), nn.HybridLambda(lambda f, x: f.L2Normalization(x, eps=eps))]
    )


def keras_depthwise(separable: bool) -> Any:
    """A depthwise convolution, and the 1x1 convolution of a separable one."""
    if separable:
        return keras_chain(lambda layers: [layers.SeparableConv2D(4, 3)], SHAPE)
    return keras_chain(
        lambda layers: [layers.DepthwiseConv2D(3, use_bias=False), layers.Conv2D(4, 1)], SHAPE
    )


def torch_depthwise() -> Any:
    """The same in torch."""
    return torch_chain(lambda nn: [nn.Conv2d(3, 3, 3, groups=3, bias=False), nn.Conv2d(3, 4, 1)])


def torch_padded(mode: str = "reflect") -> Any:
    """A padding of its own before an activation."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Any) -> Any:
            return torch.relu(nn.functional.pad(self.conv(x), (1, 2, 2, 1), mode=mode))

    torch.manual_seed(0)
    return Net().eval()


def onnx_padded(mode: str = "reflect", pads: tuple[int, ...] = (0, 0, 2, 1, 0, 0, 1, 2)) -> Any:
    """The same in ONNX."""
    state = {k: v.detach().numpy() for k, v in torch_padded().state_dict().items()}
    nodes: list[Any] = [
        ("Conv", "x conv.weight conv.bias", "a", {}), ("Pad", "a pads", "b", {"mode": mode}),
        ("Relu", "b", "out", {}),
    ]  # fmt: skip
    return onnx_model(nodes, {**state, "pads": np.array(pads)}, {"x": IMAGES})


PAIRS = (
    Pair(
        "transposed", "pt-onnx", torch_transposed, onnx_transposed, normal(*IMAGES),
        (
            Fault("cut on the other side", partial(onnx_transposed, (0, 0, 1, 1), 0), "1",
                  "transposed-cut"),
            Fault("kernel turned", partial(onnx_transposed, turned=True), "1",
                  "kernel-flipped"),
        ),
    ),
    Pair(
        "transposed", "pt-mx", torch_transposed, gluon_transposed, normal(*IMAGES),
        (
            Fault("no output padding", partial(gluon_transposed, 1, 0), "1", "transposed-cut"),
            Fault("no padding", partial(gluon_transposed, 0, 0), "1", "transposed-cut"),
        ),
        COPY,
    ),
    Pair(
        "transposed-same", "tf-pt", keras_transposed, torch_cut, normal(*IMAGES),
        (
            Fault("moved by a pixel", torch_transposed, "deconv", "transposed-cut"),
        ),
        COPY,
    ),
    Pair("separable", "tf-pt", partial(keras_depthwise, True), torch_depthwise, normal(*IMAGES),
         (), COPY),
    Pair("depthwise", "pt-tf", torch_depthwise, partial(keras_depthwise, False),
         normal(*IMAGES), (), COPY),
    Pair(
        "pixel-shuffle", "pt-onnx", torch_shuffled, partial(onnx_shuffled, "CRD"),
        normal(*BLOCKS),
        (Fault("block by block", partial(onnx_shuffled, "DCR"), "1", "block-order"),),
    ),
    Pair(
        "pixel-unshuffle", "pt-onnx", partial(torch_shuffled, True),
        partial(onnx_unshuffled, True), normal(*BLOCKS),
        (Fault("SpaceToDepth", partial(onnx_unshuffled, False), "0", "block-order"),),
    ),
    Pair(
        "pixel-shuffle", "pt-tf", torch_shuffled, partial(keras_shuffled, True),
        normal(*BLOCKS),
        (Fault("block by block", partial(keras_shuffled, False), "1", "block-order"),), COPY,
    ),
    Pair(
        "unit-length", "pt-mx", partial(torch_unit, 0.0), partial(gluon_unit, 0.0),
        normal(4, 6),
        (Fault("MXNet's eps", partial(gluon_unit, 1e-3), "normalize", "length-eps"),), COPY,
    ),
    Pair(
        "padding", "pt-onnx", torch_padded, onnx_padded, normal(*IMAGES),
        (
            Fault("edge", partial(onnx_padded, "edge"), "pad", "padding-mode"),
            Fault("sides exchanged", partial(onnx_padded, pads=(0, 0, 1, 2, 0, 0, 2, 1)), "pad",
                  "padding"),
        ),
    ),
)  # fmt: skip
