"""Frameworks that aren't exact in float64: right ports pass, and mistakes beside that are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inception_parity.models import ModelReport, compare
from inception_parity.models.float32_inside import Side, found_inside, table

from ..conftest import chosen_backends
from ..support import float32_operations as experiment
from ..support.small_models import mxnet_module

pytestmark = pytest.mark.skipif(
    not {"pt", "tf", "mx"} <= set(chosen_backends()), reason="holds three frameworks together"
)
ROWS = [(framework, name) for framework, rows in table().items() for name in rows]


@pytest.fixture(autouse=True)
def keras_s_own_dtype() -> Any:
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy()
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize(("framework", "name"), ROWS)
def test_the_table_says_what_an_operation_gives(framework: str, name: str) -> None:
    runs, _ = experiment.RUNS[framework]()
    apart, what = experiment.measured(framework, name, runs[name])
    assert what != "nothing"
    assert 1e-10 < apart < 1.5 * table()[framework][name]["rel_l2"]


@pytest.mark.parametrize(("framework", "name"), ROWS)
def test_another_framework_is_not_excused(framework: str, name: str) -> None:
    """PyTorch computes in float64 all through."""
    runs, _ = experiment.RUNS[framework]()
    seen = np.asarray(runs[name](), dtype=np.float64)
    spec = experiment.layer(framework, name, seen)
    exact = spec.reference if name in ("resize", "interpolate", "ResizeBilinear") else \
        experiment.inside.exact(spec, name)  # fmt: skip
    sides = [Side("pt", name, spec, y) for y in (exact, seen)]
    assert found_inside(*sides) is None


def rows() -> Any:
    return np.random.default_rng(0).standard_normal((4, 5, 6, 7))


def torch_net(activation: Any) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(5, 8, 1), activation(nn), nn.Conv2d(8, 3, 1)).eval()


def keras_net(activation: Any) -> Any:
    import keras

    layers = keras.layers
    given = keras.Input((6, 7, 5))
    x = activation(layers)(layers.Conv2D(8, 1)(given))
    return keras.Model(given, layers.Conv2D(3, 1)(x))


def gluon_net(activation: Any) -> Any:
    nn = mxnet_module().gluon.nn
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 1, in_channels=5), activation(nn), nn.Conv2D(3, 1, in_channels=8))
    net.initialize()
    return net


def judged(one: Any, other: Any) -> ModelReport:
    return compare(one, other, rows(), copy_weights=True)


PORTS: list[tuple[str, Callable[[Any], Any], Any, Callable[[Any], Any]]] = [
    ("the slope", lambda nn: nn.LeakyReLU(0.3), keras_net, lambda k: k.LeakyReLU(0.3)),
    ("the 1/sqrt(2)", lambda nn: nn.GELU(), keras_net, lambda k: k.Activation("gelu")),
    (
        "the high",
        lambda nn: nn.Hardtanh(0.0, 0.7),
        keras_net,
        lambda k: k.ReLU(max_value=0.7),
    ),
    ("the slope", lambda nn: nn.LeakyReLU(0.3), gluon_net, lambda nn: nn.LeakyReLU(0.3)),
    ("the operation", lambda nn: nn.GELU(), gluon_net, lambda nn: nn.GELU()),
    ("the slope", lambda nn: nn.PReLU(8, 0.3), gluon_net, lambda nn: nn.PReLU(in_channels=8)),
]


@pytest.mark.parametrize(("what", "right", "net", "port"), PORTS)
def test_a_right_port_passes_in_both_directions(what: str, right: Any, net: Any, port: Any) -> None:
    for swap in (False, True):
        models = torch_net(right), net(port)
        made = judged(*(models[::-1] if swap else models))
        assert not made.fails, made.text()
        (found,) = made.inside
        assert (found.what, found.where) == (what, "first" if swap else "second")
        assert "float32 inside 1 layer" in made.text()
        assert all((e.rel_l2 or 0) < 1e-12 for e in made.report.endpoints if e.name != found.a)
        assert 1e-10 < made.apart < 1e-7


@pytest.mark.parametrize(
    ("right", "net", "port", "size"),
    [
        (lambda nn: nn.LeakyReLU(0.3), keras_net, lambda k: k.LeakyReLU(0.3 * (1 + 1.2e-7)), 1e-9),
        (lambda nn: nn.LeakyReLU(0.3), keras_net, lambda k: k.LeakyReLU(0.3 * (1 + 1e-6)), 1e-7),
        (lambda nn: nn.Hardtanh(0.0, 0.7), keras_net, lambda k: k.ReLU(0.7 * (1 + 1e-7)), 1e-9),
        (lambda nn: nn.LeakyReLU(0.3), gluon_net, lambda nn: nn.LeakyReLU(0.3 * (1 + 1e-6)), 1e-8),
        (lambda nn: nn.PReLU(8, 0.3 * (1 + 1e-6)), gluon_net, lambda nn: nn.LeakyReLU(0.3), 1e-8),
        (lambda nn: nn.GELU("tanh"), gluon_net, lambda nn: nn.GELU(), 1e-5),
    ],
)  # fmt: skip
def test_a_mistake_beside_float32_inside_is_found(
    right: Any, net: Any, port: Any, size: float
) -> None:
    """Down to the next number of float32 where a constant is, to 1e-6 where products are."""
    made = judged(torch_net(right), net(port))
    assert made.fails
    assert made.first is not None
    assert made.first.name == "1"
    assert (made.first.rel_l2 or 0) > size


@pytest.mark.parametrize(("what", "right", "net", "port"), PORTS)
def test_a_mistake_behind_float32_inside_is_found_down_to_1e_9(
    what: str, right: Any, net: Any, port: Any
) -> None:
    """Below what float32 inside does to the outputs."""
    import torch

    class Off(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_net(right)

        def forward(self, x: Any) -> Any:
            return self.net[2](self.net[1](self.net[0](x)) * (1 + 1e-9))

    found = judged(Off(), net(port))
    assert found.fails
    assert found.first is not None
    assert found.first.kind.startswith("conv")
    assert 1e-10 < (found.first.rel_l2 or 0) < 1e-8
    assert found.apart > 2 * (found.first.rel_l2 or 0)


def test_a_layer_norm_s_eps_in_float32_is_told_from_a_wrong_one(older_mxnet: Any) -> None:
    import torch

    class Norm(older_mxnet.gluon.HybridBlock):  # type: ignore[misc]
        def __init__(self, eps: float) -> None:
            super().__init__()
            self.norm = older_mxnet.gluon.nn.LayerNorm(epsilon=eps, in_channels=7)

        def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
            return F.relu(self.norm(x * 0.01))

    class Torch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(7, eps=1e-5)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.norm(x * 0.01))

    for eps, right in ((1e-5, True), (1e-5 * (1 + 1e-7), False), (1e-12, False)):
        port = Norm(eps)
        port.initialize()
        made = compare(Torch(), port, rows())
        assert made.fails != right, made.text()
        assert len(made.inside) == int(right)
        if not right:
            assert made.first is not None
            assert made.first.name == "norm"


def test_a_resize_in_float32_and_what_is_computed_from_it_pass() -> None:
    import keras
    import tensorflow as tf
    import torch

    class Keras(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3)

        def call(self, x: Any) -> Any:
            return self.conv(tf.image.resize(x, (11, 13)) * 2 - 1)

    class Torch(torch.nn.Module):
        def __init__(self, aligned: bool) -> None:
            super().__init__()
            self.conv, self.aligned = torch.nn.Conv2d(5, 4, 3), aligned

        def forward(self, x: Any) -> Any:
            x = torch.nn.functional.interpolate(
                x, (11, 13), mode="bilinear", align_corners=self.aligned
            )
            return self.conv(x * 2 - 1)

    original = Keras()
    made = judged(original, Torch(False))
    assert not made.fails, made.text()
    assert [found.what for found in made.inside] == ["the resize", "the arithmetic"]
    made = judged(original, Torch(True))
    assert made.outputs_fail, made.text()
    assert made.points.undone == []  # what follows isn't given the right values
    assert made.inside == []
    assert made.first is not None
    assert "resize" in made.first.name
    assert made.diagnosis is not None
    assert made.diagnosis.cause is not None
    assert made.diagnosis.cause.cause == "resize"
    assert "resized by a bilinear rule with aligned corners" in made.diagnosis.cause.text


def test_kept_traces_are_judged_alike() -> None:
    right = judged(torch_net(lambda nn: nn.LeakyReLU(0.3)), keras_net(lambda k: k.LeakyReLU(0.3)))
    again = compare(right.a, right.b)
    assert not again.fails, again.text()
    assert again.inside == right.inside
