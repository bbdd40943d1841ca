"""Activations in NumPy against PyTorch's, and whether each mistake is told from the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inception_parity.diagnosis import SuspectLayer, diagnose
from inception_parity.diagnosis.arrays import CannotComputeError
from inception_parity.diagnosis.forward import compute
from inception_parity.diagnosis.search import BY_KIND, candidates

from ..conftest import chosen_backends

X = 2 * np.random.default_rng(0).standard_normal((2, 5, 5, 4))
LAYERS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"function": "leaky_relu", "slope": 0.2},
    "elu": {"function": "elu", "slope": 0.7},
    "celu": {"function": "celu", "slope": 0.7},
    "hardsigmoid": {"function": "hard_sigmoid"},
    "hardswish": {"function": "hard_swish"},
    "silu": {"function": "silu"},
    "mish": {"function": "mish"},
    "logsigmoid": {"function": "log_sigmoid"},
    "softmax": {"function": "softmax", "axis": 2},
    "log_softmax": {"function": "log_softmax", "axis": 1},
    "prelu": {},
}
NAMED = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 0.7}, "celu": {"alpha": 0.7},
         "softmax": {"dim": 2}, "log_softmax": {"dim": 1}}  # fmt: skip


def made(name: str) -> SuspectLayer:
    """An activation, and what it computes."""
    weights = {"weight": np.random.default_rng(1).standard_normal(5)} if name == "prelu" else {}
    kind = "prelu" if name == "prelu" else "act"
    layer = SuspectLayer(name, kind, (X,), X, None, LAYERS[name], weights, "pt")
    return replace(layer, reference=compute(layer))


@pytest.mark.skipif("pt" not in chosen_backends(), reason="needs PyTorch")
@pytest.mark.parametrize("name", LAYERS)
def test_an_activation_computes_what_torch_does(name: str) -> None:
    import torch

    layer = made(name)
    weights = [torch.tensor(array) for array in layer.weights.values()]
    y = getattr(torch.nn.functional, name)(torch.tensor(X), *weights, **NAMED.get(name, {}))
    np.testing.assert_allclose(layer.reference, y.numpy(), atol=1e-14)


@pytest.mark.parametrize("name", LAYERS)
def test_every_mistake_of_an_activation_is_told_from_the_others(name: str) -> None:
    layer = made(name)
    tried = 0
    for candidate in list(candidates(layer, BY_KIND[layer.kind])):
        try:
            seen = compute(candidate.layer)
        except CannotComputeError:
            continue
        found = diagnose(replace(layer, observed=seen)).cause
        assert found is not None, candidate.text
        assert found.after <= 1e-14
        assert found.cost <= candidate.cost
        if name == "prelu":
            assert found.text == candidate.text
        tried += 1
    assert tried >= (5 if name == "prelu" else 15)


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "hardsigmoid"])
def test_another_slope_is_named_even_if_it_is_kept_in_float32(name: str) -> None:
    layer = made(name)
    wrong = float(np.float32(0.25 if name == "elu" else 0.3 if name == "leaky_relu" else 0.2))
    found = diagnose(replace(layer, observed=compute(layer.but(slope=wrong)))).cause
    assert found is not None
    assert found.cause == "slope"
