"""Attention in NumPy against PyTorch's, and whether each mistake is told from the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inception_parity.diagnosis import SuspectLayer, diagnose
from inception_parity.diagnosis.forward import compute
from inception_parity.diagnosis.search import BY_KIND, candidates

from ..conftest import chosen_backends

RNG = np.random.default_rng(0)
X, Y, Z = RNG.standard_normal((3, 2, 5, 8))
MASK = (RNG.random((2, 1, 1, 5)) > 0.4).astype(float)
MASK[..., 0] = 1.0


def made(causal: bool = False, masked: bool = False) -> SuspectLayer:
    """Attention of two heads, and what it computes."""
    weights = {f"{r}_weight": RNG.standard_normal((8, 8)) for r in ("q", "k", "v", "out")}
    weights |= {f"{r}_bias": RNG.standard_normal(8) for r in ("q", "k", "v", "out")}
    inputs = (X, Y, Z, MASK) if masked else (X, Y, Z)
    layer = SuspectLayer(
        "a", "attention", inputs, X, None, {"heads": 2, "causal": causal}, weights, "tf"
    )
    return replace(layer, reference=compute(layer))


@pytest.mark.skipif("pt" not in chosen_backends(), reason="needs PyTorch")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_computes_what_torch_does(causal: bool, masked: bool) -> None:
    import torch

    layer = made(causal, masked)
    w = {name: torch.tensor(array) for name, array in layer.weights.items()}
    net = torch.nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    net.load_state_dict({
        "in_proj_weight": torch.cat([w["q_weight"], w["k_weight"], w["v_weight"]]),
        "in_proj_bias": torch.cat([w["q_bias"], w["k_bias"], w["v_bias"]]),
        "out_proj.weight": w["out_weight"], "out_proj.bias": w["out_bias"],
    })  # fmt: skip
    more: dict[str, Any] = {}
    if masked:
        more["key_padding_mask"] = torch.tensor(MASK[:, 0, 0] < 0.5)
    if causal:
        more["attn_mask"] = torch.ones(5, 5).tril() == 0
    y, _ = net(torch.tensor(X), torch.tensor(Y), torch.tensor(Z), **more)
    np.testing.assert_allclose(layer.reference, y.detach().numpy(), atol=1e-13)


@pytest.mark.parametrize(("causal", "masked"), [(False, True), (True, False)])
def test_every_mistake_of_attention_is_told_from_the_others(causal: bool, masked: bool) -> None:
    layer = made(causal, masked)
    tried = 0
    for candidate in list(candidates(layer, BY_KIND["attention"])):
        seen = compute(candidate.layer)
        if np.allclose(seen, layer.reference):
            assert candidate.cause == "causal"  # aligned at the last of as many steps
            continue
        found = diagnose(replace(layer, observed=seen)).cause
        assert found is not None, candidate.text
        assert found.cause == candidate.cause
        assert found.fix
        tried += 1
    assert tried >= 25


def test_every_mistake_of_an_embedding_is_told_from_the_others() -> None:
    table, places = RNG.standard_normal((7, 4)), np.array([[0, 1, 2], [6, 5, 3]])
    layer = SuspectLayer(
        "e", "embedding", (places.astype(float),), X, None, {}, {"weight": table}, "pt"
    )
    layer = replace(layer, reference=compute(layer))
    np.testing.assert_array_equal(layer.reference, table[places])
    for candidate in list(candidates(layer, BY_KIND["embedding"])):
        found = diagnose(replace(layer, observed=compute(candidate.layer))).cause
        assert found is not None
        assert found.text == candidate.text
