"""Layer, group, instance and RMS norm in NumPy against PyTorch's; each mistake told from others."""

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

X = np.random.default_rng(0).standard_normal((2, 6, 5, 4)) * 0.1 + 0.2
LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "layer": ("layer_norm", {"axes": (-1,)}, (4,)),
    "layer-image": ("layer_norm", {"axes": (1, 2, 3)}, (6, 5, 4)),
    "rms": ("rms_norm", {"axes": (-1,)}, (4,)),
    "group": ("group_norm", {"groups": 3}, (6,)),
    "instance": ("instance_norm", {}, (6,)),
}


def made(name: str) -> SuspectLayer:
    """A norm with random weights, and what it computes."""
    kind, settings, shape = LAYERS[name]
    rng = np.random.default_rng(1)
    weights = {"weight": rng.standard_normal(shape), "bias": rng.standard_normal(shape)}
    if kind == "rms_norm":
        del weights["bias"]
    layer = SuspectLayer(name, kind, (X,), X, None, {"eps": 1e-5, **settings}, weights, "pt")
    return replace(layer, reference=compute(layer))


@pytest.mark.skipif("pt" not in chosen_backends(), reason="needs PyTorch")
@pytest.mark.parametrize("name", LAYERS)
def test_a_norm_computes_what_torch_does(name: str) -> None:
    import torch
    from torch.nn import functional as F

    layer = made(name)
    x = torch.tensor(X)
    weights = {role: torch.tensor(array) for role, array in layer.weights.items()}
    shape = LAYERS[name][2]
    y = {
        "layer": lambda: F.layer_norm(x, shape, **weights, eps=1e-5),
        "layer-image": lambda: F.layer_norm(x, shape, **weights, eps=1e-5),
        "rms": lambda: F.rms_norm(x, shape, weights["weight"], 1e-5),
        "group": lambda: F.group_norm(x, 3, **weights, eps=1e-5),
        "instance": lambda: F.instance_norm(x, None, None, **weights, eps=1e-5),
    }[name]()
    np.testing.assert_allclose(layer.reference, y.numpy(), atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_every_mistake_of_a_norm_is_told_from_the_others(name: str) -> None:
    layer = made(name)
    tried = 0
    for candidate in list(candidates(layer, BY_KIND[layer.kind])):
        try:
            seen = compute(candidate.layer)
        except CannotComputeError:
            continue
        found = diagnose(replace(layer, observed=seen)).cause
        assert found is not None, candidate.text
        assert (found.cause, found.text) == (candidate.cause, candidate.text)
        assert found.fix
        tried += 1
    assert tried >= 14


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("wrong", [3.3e-4, 1.234567e-6])
def test_any_other_eps_is_found(name: str, wrong: float) -> None:
    layer = made(name)
    found = diagnose(replace(layer, observed=compute(layer.but(eps=wrong)))).cause
    assert found is not None
    assert found.cause == "eps"
    assert f"{wrong:g}" in found.text
