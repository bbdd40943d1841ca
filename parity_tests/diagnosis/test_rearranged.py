"""Transposed convolutions and what moves values in NumPy against PyTorch's; mistakes told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inception_parity.diagnosis import SuspectLayer, diagnose
from inception_parity.diagnosis.arrays import CannotComputeError
from inception_parity.diagnosis.forward import compute
from inception_parity.diagnosis.search import BY_KIND, candidates

from ..conftest import chosen_backends

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 5, 6))
KERNEL, BIAS = RNG.standard_normal((3, 4, 3, 3)), RNG.standard_normal(3)
GROUPED = RNG.standard_normal((2, 4, 3, 2))  # two groups: (out / groups, in, height, width)
LAYERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "transposed": ("conv_transpose", {"stride": (2, 2), "pads": ((1, 0), (1, 0))},
                   {"weight": KERNEL, "bias": BIAS}),
    "grouped": ("conv_transpose", {"stride": (2, 1), "pads": ((0, 0), (1, 1)), "groups": 2,
                                   "dilation": (1, 2)}, {"weight": GROUPED}),
    "shuffle": ("depth_to_space", {"block": 2, "order": "CRD"}, {}),
    "unshuffle": ("space_to_depth", {"block": 2, "order": "CRD"}, {}),
    "normalize": ("l2_normalize", {"axes": (1,), "eps": 1.5, "rule": "length"}, {}),
    "reflect": ("pad", {"pads": ((1, 2), (2, 1)), "mode": "reflect", "fill": 0.0}, {}),
    "constant": ("pad", {"pads": ((1, 2), (2, 1)), "mode": "constant", "fill": 0.5}, {}),
    "mean": ("mean", {"axes": (1, 3), "keep": True}, {}),
    "max": ("max", {"axes": (2,), "keep": False}, {}),
}  # fmt: skip


def made(name: str) -> SuspectLayer:
    """A layer, and what it computes."""
    kind, settings, weights = LAYERS[name]
    x = X[:, :, :4] if name == "unshuffle" else X
    layer = SuspectLayer(name, kind, (x,), x, None, settings, weights, "pt")
    return replace(layer, reference=compute(layer))


@pytest.mark.skipif("pt" not in chosen_backends(), reason="needs PyTorch")
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_torch_does(name: str) -> None:
    import torch
    from torch.nn import functional as F

    layer = made(name)
    x = torch.tensor(layer.inputs[0])
    w, v = torch.tensor(KERNEL).transpose(0, 1), torch.tensor(GROUPED).transpose(0, 1)
    theirs: dict[str, Callable[[], Any]] = {
        "transposed": lambda: F.conv_transpose2d(x, w, torch.tensor(BIAS), 2, 1, 1),
        "grouped": lambda: F.conv_transpose2d(x, v, None, (2, 1), (0, 1), 0, 2, (1, 2)),
        "shuffle": lambda: F.pixel_shuffle(x, 2),
        "unshuffle": lambda: F.pixel_unshuffle(x, 2),
        "normalize": lambda: F.normalize(x, eps=1.5),
        "reflect": lambda: F.pad(x, (2, 1, 1, 2), "reflect"),
        "constant": lambda: F.pad(x, (2, 1, 1, 2), value=0.5),
        "mean": lambda: x.mean((1, 3), keepdim=True),
        "max": lambda: x.amax(2),
    }
    np.testing.assert_allclose(layer.reference, theirs[name]().numpy(), atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_every_mistake_is_told_from_the_others(name: str) -> None:
    layer = made(name)
    tried = 0
    seen_first = replace(layer, observed=layer.reference)
    for candidate in list(candidates(seen_first, BY_KIND[layer.kind])):
        try:
            seen = compute(candidate.layer)
        except CannotComputeError:
            continue
        if seen.shape == layer.reference.shape and np.allclose(seen, layer.reference):
            continue
        found = diagnose(replace(layer, observed=seen)).cause
        assert found is not None, candidate.text
        assert found.after <= 1e-10
        assert found.cost <= candidate.cost
        assert found.fix
        tried += 1
    assert tried >= 2


def test_one_that_is_cut_on_the_other_side_is_said_to_be_moved() -> None:
    layer = made("transposed")
    seen = compute(layer.but(pads=((0, 1), (0, 1))))
    found = diagnose(replace(layer, observed=seen)).cause
    assert found is not None
    assert found.cause == "transposed-cut"
    assert "moved by a pixel" in found.text
    assert "output_padding=1" in found.fix
