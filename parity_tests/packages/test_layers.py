"""Single layers in float64, compared with the oracle's.

In a network every pool follows a ReLU and every flatten a global pool, so
zero padding or a different order of axes wouldn't show there.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from inception_parity.backends import adapter

from ..support.helpers import images, relative_l2

STRUCTURE = 1e-10
NEGATIVE = images((2, 3, 9, 8)) - 20


@dataclass(frozen=True)
class Layer:
    """Everything an adapter needs to build a single layer the way it builds a network."""

    name: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    file: str = "googlenet"

    def build(self, package, options):
        return getattr(importlib.import_module(f"{package}.{self.file}"), self.name)(
            *self.args, **options
        )

    def run(self, backend, *xs):
        """Return the layer's output for arrays in the shared layout, with weights if it has any."""
        layer = backend.build(self, self.options, "float64")
        shapes = adapter("np").get_weights(self.build("inception_np", self.options))
        draw = np.random.default_rng(7).uniform
        arrays = {name: draw(0.5, 1.5, array.shape) for name, array in shapes.items()}
        if arrays:
            backend.set_weights(layer, arrays)
        native = [backend.to_native(x, "float64") for x in xs]
        if backend.name == "pt":
            return layer(*native).detach().numpy()
        return backend.to_shared(layer(*native))

    def __str__(self):
        words = [self.name, *map(str, self.args), *(f"{k}={v}" for k, v in self.options.items())]
        return " ".join(words)


def assert_equals_the_oracles(layer, backend, *xs):
    expected = layer.run(adapter("np"), *xs)
    assert relative_l2(layer.run(backend, *xs), expected) <= STRUCTURE


@pytest.mark.parametrize(
    "layer",
    [
        Layer("MaxPool", (3, 2, 1)),
        Layer("MaxPool", (3, 1, 1)),
        Layer("MaxPool", (2, 2)),
        Layer("MaxPool", ((3, 2), (1, 2), (1, 0))),
    ],
    ids=str,
)
def test_max_pool_never_takes_the_padding(load_adapter, framework, layer):
    assert_equals_the_oracles(layer, load_adapter(framework), NEGATIVE)


@pytest.mark.parametrize(
    "layer",
    [
        Layer("ConvBlock", (3, 4, 3, 2, 1)),
        Layer("ConvBlock", (3, 4, (1, 3), 1, (0, 1))),
        Layer("ConvBlock", (3, 4, (3, 1), (2, 1), (1, 0)), {"bias": False}),
        Layer("ConvBlock", (3, 4, 2), {"batch_norm": True, "bn_eps": 0.5}),
        Layer("ConvBlock", (3, 4, 1), {"activation": False}),
        Layer("ConvBlock", (3, 4, 1), {"batch_norm": True, "activation": False}),
    ],
    ids=str,
)
def test_conv_block_takes_its_arguments_as_the_oracle_does(load_adapter, framework, layer):
    assert_equals_the_oracles(layer, load_adapter(framework), images((2, 3, 9, 8)))


def test_flatten_is_in_the_order_of_channels_height_width(load_adapter, framework):
    assert_equals_the_oracles(Layer("Flatten"), load_adapter(framework), NEGATIVE)


def test_global_average_pool_takes_height_and_width(load_adapter, framework):
    assert_equals_the_oracles(Layer("GlobalAvgPool"), load_adapter(framework), NEGATIVE)


def test_concat_joins_the_channels_in_order(load_adapter, framework):
    parts = [images((2, channels, 4, 5), seed=channels) for channels in (2, 1, 3)]
    assert_equals_the_oracles(Layer("Concat"), load_adapter(framework), *parts)


def test_conv_block_without_activation_keeps_negative_values():
    layer = Layer("ConvBlock", (3, 4, 1), {"activation": False})
    assert layer.run(adapter("np"), NEGATIVE).max() < 0
    assert [name for name, _ in layer.build("inception_np", layer.options).children()] == ["conv"]


@pytest.mark.parametrize("scale", [1.0, 0.17])
def test_scaled_add_scales_the_residual_and_not_the_shortcut(load_adapter, framework, scale):
    shortcut, residual = (images((2, 3, 4, 5), seed=seed) for seed in (1, 2))
    layer = Layer("ScaledAdd", (scale,), file="layers")
    assert_equals_the_oracles(layer, load_adapter(framework), shortcut, residual)
    expected = shortcut + scale * residual
    np.testing.assert_array_equal(layer.run(adapter("np"), shortcut, residual), expected)


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_inception_block_equals_the_oracles(load_adapter, framework, batch_norm):
    layer = Layer("Inception", (3, 2, (3, 4), (1, 5), 2), {"batch_norm": batch_norm})
    assert_equals_the_oracles(layer, load_adapter(framework), NEGATIVE)


def test_last_block_of_the_fids_network_equals_the_oracles(load_adapter, framework):
    layer = Layer("InceptionE", (3,), {"max_pool": True}, "inception_v3")
    assert_equals_the_oracles(layer, load_adapter(framework), NEGATIVE)
    assert "max pool" in layer.build("inception_np", layer.options).pool.describe()


@pytest.mark.parametrize("args", [(0, 4, 1), (3, -1, 1)], ids=str)
def test_conv_block_refuses_a_count_that_is_not_positive(load_adapter, backend, args):
    name = "in_channels" if args[0] < 1 else "out_channels"
    with pytest.raises(ValueError, match=f"{name}=.*, but should be a positive whole number"):
        load_adapter(backend).build(Layer("ConvBlock", args), {}, "float64")
