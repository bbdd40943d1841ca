"""The optimisers of four packages follow their formulas, step by step, in float64."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

from inception_np import SGD, Adam, RMSProp
from inception_parity.networks import catalogue

from ..conftest import chosen_backends
from ..support.optimizers import STEPS, defined, in_keras, in_mxnet, in_torch, native_differences

# Powers of two where MXNet's fused operators would round to float32.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 2.0**-4}),
    "sgd-decay": ("SGD", {"lr": 2.0**-4, "weight_decay": 2.0**-5}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
    "adam": ("Adam", {"lr": 0.01, "eps": 1e-3, "weight_decay": 1e-2}),
    "rmsprop": ("RMSProp", {"lr": 2.0**-4, "decay": 0.875, "eps": 1.0, "weight_decay": 2.0**-5}),
    "rmsprop-small-eps": ("RMSProp", {"lr": 2.0**-4, "decay": 0.875, "eps": 2.0**-20}),
}
FRAMEWORKS = ("pt", "tf", "mx")


def run(framework: str, kind: str, settings: dict[str, Any], steps: int) -> dict[str, Any]:
    """Run our optimiser for one framework through the steps."""
    if framework not in chosen_backends():
        pytest.skip(f"{framework} is not among INCEPTION_BACKENDS")
    cls = getattr(importlib.import_module(catalogue.BACKENDS[framework].package), kind)
    if framework == "pt":
        return in_torch(lambda params: cls(params, **settings), steps)
    return {"tf": in_keras, "mx": in_mxnet}[framework](lambda: cls(**settings), steps)


def difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    return max(
        float(np.linalg.norm(found[n] - expected[n]) / np.linalg.norm(expected[n]))
        for n in expected
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_optimizer_is_what_is_defined(framework: str, setting: str) -> None:
    kind, settings = SETTINGS[setting]
    for steps in (1, STEPS):
        expected = defined(kind, settings, steps)
        assert difference(run(framework, kind, settings, steps), expected) < 1e-15 * 10


def test_definition_of_sgd_by_hand() -> None:
    # One number, gradient 1 in each step, lr 0.1: velocities 1, 1.9, 2.71.
    for nesterov, total in ((False, 1 + 1.9 + 2.71), (True, 1.9 + 2.71 + 3.439)):
        w = {"w": np.array([5.0])}
        sgd = SGD(0.1, 0.9, nesterov)
        for _ in range(3):
            sgd.step(w, {"w": np.array([1.0])})
        assert w["w"][0] == pytest.approx(5 - 0.1 * total, rel=1e-15)


def test_new_lr_takes_effect_at_once() -> None:
    # in any framework: 0.881 if lr is outside the velocity, 0.800 if it is inside.
    w = {"w": np.array([1.0])}
    sgd = SGD(0.1, 0.9)
    sgd.step(w, {"w": np.array([1.0])})
    sgd.lr = 0.01
    sgd.step(w, {"w": np.array([1.0])})
    assert w["w"][0] == pytest.approx(1 - 0.1 - 0.01 * 1.9, rel=1e-15)


def test_definition_of_weight_decay_by_hand() -> None:
    # Coupled: three plain steps at gradient 0 multiply by (1 - lr decay) each; with momentum
    # the decay is part of the velocity.
    w = {"w": np.array([1.0])}
    sgd = SGD(0.1, weight_decay=0.5)
    for _ in range(3):
        sgd.step(w, {"w": np.array([0.0])})
    assert w["w"][0] == pytest.approx(0.95**3, rel=1e-15)
    w = {"w": np.array([1.0])}
    sgd = SGD(0.1, 0.9, weight_decay=0.5)
    for _ in range(2):
        sgd.step(w, {"w": np.array([0.0])})
    assert w["w"][0] == pytest.approx(0.95 - 0.1 * (0.9 * 0.5 + 0.5 * 0.95), rel=1e-15)


def test_definition_of_adam_by_hand() -> None:
    # The first step is lr g / (|g| + eps), whatever the betas.
    for g in (1e-7, -3.0):
        w = {"w": np.array([0.0])}
        Adam(0.5, eps=1e-8).step(w, {"w": np.array([g])})
        assert w["w"][0] == pytest.approx(-0.5 * g / (abs(g) + 1e-8), rel=1e-14)


def test_definition_of_rmsprop_by_hand() -> None:
    w = {"w": np.array([0.0])}
    rmsprop = RMSProp(0.5, 0.9, 1.0)
    rmsprop.step(w, {"w": np.array([2.0])})
    assert w["w"][0] == pytest.approx(-0.5 * 2 / math.sqrt(0.1 * 4 + 1), rel=1e-15)
    rmsprop.step(w, {"w": np.array([1.0])})
    expected = -0.5 * 2 / math.sqrt(1.4) - 0.5 / math.sqrt(0.9 * 0.4 + 0.1 + 1)
    assert w["w"][0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("framework", ("np", *FRAMEWORKS))
@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("SGD", {"lr": -0.1}, "lr=-0.1, but should be at least 0"),
        ("SGD", {"momentum": 1.0}, "momentum=1.0, but should be at least 0 and less than 1"),
        ("SGD", {"nesterov": True}, "momentum=0.0, but should be more than 0 with nesterov=True"),
        ("Adam", {"beta1": 1.0, "beta2": -1.0}, "beta1=1.0.*; beta2=-1.0"),
        ("RMSProp", {"eps": math.nan, "weight_decay": -1.0}, "eps=nan.*; weight_decay=-1.0"),
    ],
)
def test_optimizer_refuses_what_it_cannot_use(
    framework: str, kind: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        if framework == "np":
            getattr(importlib.import_module("inception_np"), kind)(**settings)
        else:
            run(framework, kind, settings, 1)


@pytest.mark.parametrize("setting", SETTINGS)
def test_keras_optimizer_is_restored_from_its_config(setting: str) -> None:
    if "tf" not in chosen_backends():
        pytest.skip("tf is not among INCEPTION_BACKENDS")
    import keras

    import inception_tf

    kind, settings = SETTINGS[setting]
    ours = getattr(inception_tf, kind)(**settings)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(ours))
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config()
    assert {k: again.get_config()[k] for k in settings} == pytest.approx(settings)
    ours.learning_rate = 0.5
    assert float(type(ours).from_config(ours.get_config()).learning_rate) == 0.5


def test_native_optimizers_differ_where_it_is_said() -> None:
    """A native optimiser differs from the definition only where docs/training-check.md says so."""
    if not {"pt", "tf", "mx"} <= set(chosen_backends()):
        pytest.skip("shows pt, tf and mx beside each other")
    for title, native, what, apart in native_differences():
        if what == "the definition itself":
            assert apart < 1e-14, (title, native)
        else:
            assert apart > 1e-9, (title, native, what)
