"""Biases that batch norm subtracts again are found, and no others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import inception_np
from inception_np import layers, pools
from inception_np.module import Array, Module
from inception_parity.networks import catalogue
from inception_parity.networks.empty_batch import with_heads
from inception_parity.networks.idle_biases import idle_biases

SHAPE = (2, 7, 7)


class Small(Module):
    """A convolution with a bias, something after it, and batch norm."""

    def __init__(self, between: Callable[[Small, Array], Array] | None, *inner: Module) -> None:
        super().__init__()
        self.conv = layers.Conv2d(2, 4, 3, padding=1)
        for number, module in enumerate(inner):
            setattr(self, f"inner{number}", module)
        self.norm = layers.BatchNorm2d(4, 1e-3)
        self.between = between

    def forward(self, x: Array) -> Array:
        y = self.conv(x)
        return self.norm(self.between(self, y) if self.between else y)


def one(net: Small, y: Array) -> Array:
    return net.inner0(y)


def with_shortcut(net: Small, y: Array) -> Array:
    return net.inner0(np.ones_like(y), y)


def seen_elsewhere(net: Small, y: Array) -> Array:
    net.inner0(y)
    return y


def loses_it(net: Small, y: Array) -> Array:
    return np.abs(y)  # which isn't a layer


SMALL = {
    "nothing": (Small(None), True),
    "addition": (Small(with_shortcut, layers.ScaledAdd(0.5)), True),
    "conv": (Small(one, layers.Conv2d(4, 4, 3, stride=2, bias=False)), True),
    "padded conv": (Small(one, layers.Conv2d(4, 4, 3, padding=1, bias=False)), False),
    "max pool": (Small(one, pools.MaxPool(3, 2, 1)), True),
    "average": (Small(one, pools.AvgPool(3, 1, 1, count_include_pad=False)), True),
    "average with padding": (Small(one, pools.AvgPool(3, 1, 1, count_include_pad=True)), False),
    "mean": (Small(one, pools.GlobalAvgPool()), True),
    "means": (Small(one, pools.AdaptiveAvgPool(2)), True),
    "relu": (Small(one, layers.ReLU()), False),
    "seen elsewhere": (Small(seen_elsewhere, layers.ReLU()), False),
    "not a layer": (Small(loses_it), False),
}


@pytest.mark.parametrize("name", SMALL)
def test_bias_is_idle_if_shifting_it_changes_nothing(name: str) -> None:
    """As it is found from the layers, and in numbers."""
    net, idle = SMALL[name]
    assert idle_biases(net, SHAPE) == (["conv.bias"] if idle else [])
    assert idle_biases(net, SHAPE, resting=["norm"]) == []
    rng = np.random.default_rng(0)
    for module in (m for _, m in net.named_modules() if isinstance(m, layers.Conv2d)):
        module.weight = rng.standard_normal(module.weight.shape)
    net.train()
    x = rng.standard_normal((3, *SHAPE))
    before = net(x)
    net.conv.bias = rng.standard_normal(4)
    if name != "seen elsewhere":  # what it does there isn't part of the output
        assert np.allclose(net(x), before, rtol=0, atol=1e-12) is idle


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("googlenet", {"batch_norm": True}),
        ("inception_v3", {}),
        ("bn_inception", {}),
    ],
)
def test_block_with_bias_and_batch_norm_has_an_idle_one(
    network: str, options: dict[str, bool]
) -> None:
    info = catalogue.network(network)
    net = with_heads(info, info.resolve(options))
    names = inception_np.get_weights(net)
    convs = [name.removesuffix(".conv.bias") for name in names if name.endswith(".conv.bias")]
    expected = [f"{block}.conv.bias" for block in convs if f"{block}.norm.bias" in names]
    assert sorted(idle_biases(net, (net.options["in_channels"], *info.size))) == sorted(expected)


@pytest.mark.slow  # 56 million weights; every rule is tested above
@pytest.mark.parametrize("last_activation", [False, True])
def test_last_projection_of_inception_resnet_v2_is_idle(last_activation: bool) -> None:
    """Without a ReLU after the last block its sum goes on to a 1x1 convolution and batch norm."""
    info = catalogue.network("inception_resnet_v2")
    net = with_heads(info, info.resolve({"last_activation": last_activation}))
    found = idle_biases(net, (3, 299, 299))
    assert found == ([] if last_activation else ["Block8.projection.conv.bias"])
