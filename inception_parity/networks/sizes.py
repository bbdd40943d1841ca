"""How large networks are: parameters, multiply-adds, and the memory for what layers compute.

The networks of the family are measured on the oracle. AlexNet, VGG-11 and NiN, for
comparison, are nothing but tables of layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from . import catalogue, summary
from .empty_batch import is_leaf


@dataclass(frozen=True)
class NetworkSize:
    """The size of one network; counts are per image."""

    title: str
    shape: tuple[int, int, int]  # of the input: channels, height, width
    parameters: int  # trainable, without auxiliary heads
    dense: int  # of these, the ones in fully connected layers
    heads: int  # further parameters, in auxiliary heads
    multiply_adds: int  # of convolutions and fully connected layers, in inference
    activations: int  # values that the layers compute, in inference

    @property
    def activation_bytes(self) -> int:
        """The memory for all activations in float32."""
        return 4 * self.activations


@dataclass(frozen=True)
class PlainLayer:
    """A square window moved over the image, with what it computes.

    Args:
        kernel: its side; 0 for the whole grid.
        channels: of the output; 0 for a pool, which keeps those of its input.
        rectified: whether a ReLU follows.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    channels: int = 0
    rectified: bool = False


def conv(channels: int, kernel: int, stride: int = 1, padding: int = 0) -> PlainLayer:
    """Return a convolution with bias, and the ReLU after it."""
    return PlainLayer(kernel, stride, padding, channels, rectified=True)


def dense(features: int, rectified: bool = True) -> PlainLayer:
    """Return a fully connected layer: a window over the whole grid."""
    return PlainLayer(0, channels=features, rectified=rectified)


def _nin(channels: int, kernel: int, stride: int, padding: int) -> tuple[PlainLayer, ...]:
    return conv(channels, kernel, stride, padding), conv(channels, 1), conv(channels, 1)


def _vgg(convolutions: int, channels: int) -> tuple[PlainLayer, ...]:
    return (*[conv(channels, 3, 1, 1)] * convolutions, PlainLayer(2, 2))


def tables(num_classes: int) -> dict[str, tuple[PlainLayer, ...]]:
    """Return d2l's versions of AlexNet, VGG-11 and NiN (sections 8.1 to 8.3), layer by layer."""
    pool = PlainLayer(3, 2)
    classifier = (dense(4096), dense(4096), dense(num_classes, rectified=False))
    return {
        "AlexNet": (
            *(conv(96, 11, 4, 1), pool),
            *(conv(256, 5, 1, 2), pool),
            *(conv(384, 3, 1, 1), conv(384, 3, 1, 1), conv(256, 3, 1, 1), pool),
            *classifier,
        ),
        "VGG-11": (
            *(*_vgg(1, 64), *_vgg(1, 128), *_vgg(2, 256), *_vgg(2, 512), *_vgg(2, 512)),
            *classifier,
        ),
        "NiN": (
            *(*_nin(96, 11, 4, 0), pool),
            *(*_nin(256, 5, 1, 2), pool),
            *(*_nin(384, 3, 1, 1), pool),
            *(*_nin(num_classes, 3, 1, 1), PlainLayer(0)),
        ),
    }


def rows(
    in_channels: int = 1,
    num_classes: int = 10,
    size: tuple[int, int] | None = (224, 224),
) -> list[NetworkSize]:
    """Return the sizes of d2l's predecessors and of every network of the catalogue.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes.
        size: (height, width) of the images; None for each network's own.

    Raises:
        InputError: an image of that size is too small for one of them.
    """
    predecessors = [
        of_table(title, layers, (in_channels, *(size or (224, 224))))
        for title, layers in tables(num_classes).items()
    ]
    settings = {"in_channels": in_channels, "num_classes": num_classes}
    family = [of_network(name, settings, size) for name in catalogue.NETWORKS]
    return predecessors + family


def of_table(title: str, layers: Sequence[PlainLayer], shape: tuple[int, int, int]) -> NetworkSize:
    """Return the size of a network that is a table of layers.

    Raises:
        InputError: the image is too small.
    """
    channels, height, width = shape
    parameters = of_dense = multiply_adds = activations = 0
    for layer in layers:
        window = (layer.kernel or height, layer.kernel or width)
        height = (height + 2 * layer.padding - window[0]) // layer.stride + 1
        width = (width + 2 * layer.padding - window[1]) // layer.stride + 1
        if min(height, width) < 1:
            raise InputError(f"{title}: {shape[1]}x{shape[2]} is too small an image")
        if layer.channels:
            weights = window[0] * window[1] * channels * layer.channels
            channels = layer.channels
            parameters += weights + channels
            of_dense += 0 if layer.kernel else weights + channels
            multiply_adds += weights * height * width
        activations += (1 + layer.rectified) * channels * height * width
    return NetworkSize(title, shape, parameters, of_dense, 0, multiply_adds, activations)


def of_network(
    name: str, settings: Mapping[str, Any] | None = None, size: tuple[int, int] | None = None
) -> NetworkSize:
    """Return the size of a network of the catalogue.

    Args:
        name: its name.
        settings: options that aren't the defaults.
        size: (height, width) of the images; None for the network's own.

    Raises:
        InputError: no such network or option, or an image too small for it.
    """
    network = catalogue.network(name)
    options = network.resolve(settings or {})
    aux = "use_aux" in options
    heads = {"use_aux": True, "return_aux": False} if aux else {}
    whole = network.build("inception_np", options | heads)
    net = network.build("inception_np", options | heads | ({"use_aux": False} if aux else {}))
    shape = (int(options["in_channels"]), *(size or network.size))
    try:
        dense, multiply_adds, activations = _measure(net, shape)
    except ValueError as error:
        raise InputError(
            f"{name}: {shape[1]}x{shape[2]} is too small an image ({error})"
        ) from error
    parameters, with_heads = (
        sum(summary.parameters(module) for _, module in each.named_modules())
        for each in (net, whole)
    )
    return NetworkSize(
        network.class_name, shape, parameters, dense, with_heads - parameters, multiply_adds,
        activations,
    )  # fmt: skip


def _measure(net: Any, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the dense parameters, multiply-adds and activations of a network for one image."""
    from inception_np.layers import Dropout, Flatten, Linear

    shapes = summary.output_shapes(net, shape[0], shape[1:])
    leaves = [(m, shapes[p]) for p, m in net.named_modules() if p in shapes and is_leaf(m)]
    dense = sum(summary.parameters(m) for m, _ in leaves if isinstance(m, Linear))
    multiply_adds = sum(summary.multiply_adds(m, output) for m, output in leaves)
    # A dropout or flatten leaves nothing but its input.
    outputs = [output for m, output in leaves if not isinstance(m, (Dropout, Flatten))]
    return dense, multiply_adds, sum(math.prod(output) for output in outputs)
