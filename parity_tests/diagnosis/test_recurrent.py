"""Recurrent layers in NumPy against PyTorch's, and whether each mistake is told from the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inception_parity.diagnosis import SuspectLayer, diagnose
from inception_parity.diagnosis.forward import compute
from inception_parity.diagnosis.search import BY_KIND, candidates

from ..conftest import chosen_backends
from ..support.selection import slow_unless

X = np.random.default_rng(0).standard_normal((2, 6, 5))


def made(kind: str, **settings: Any) -> SuspectLayer:
    """A layer with random weights, and what it computes."""
    rng, gates = np.random.default_rng(1), {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    shapes = {"weight_ih": (4 * gates, 5), "weight_hh": (4 * gates, 4), "bias_ih": (4 * gates,),
              "bias_hh": (4 * gates,)}  # fmt: skip
    weights = {role: rng.standard_normal(shape) for role, shape in shapes.items()}
    nothing = np.zeros((2, 6, 4))
    layer = SuspectLayer(
        "rnn", kind, (X,), nothing, None, {"function": "tanh", **settings}, weights, "tf"
    )
    return replace(layer, reference=compute(layer))


@pytest.mark.skipif("pt" not in chosen_backends(), reason="needs PyTorch")
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrent_layer_computes_what_torch_does(kind: str, reverse: bool) -> None:
    import torch

    layer = made(kind, reverse=reverse)
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind]
    net = theirs(5, 4, batch_first=True).double()
    net.load_state_dict({f"{k}_l0": torch.tensor(v) for k, v in layer.weights.items()})
    x = torch.tensor(X).flip(1) if reverse else torch.tensor(X)
    y = net(x)[0].detach()
    y = y.flip(1) if reverse else y
    np.testing.assert_allclose(layer.reference, y.numpy(), atol=1e-14)


@slow_unless(lambda p: p["kind"] == "rnn", "tries every mistake")
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("reverse", [False, True])
def test_every_mistake_of_a_recurrent_layer_is_told_from_the_others(
    kind: str, reverse: bool
) -> None:
    layer = made(kind, reverse=reverse)
    tried = 0
    for candidate in list(candidates(layer, BY_KIND[kind])):
        seen = compute(candidate.layer)
        if np.allclose(seen, layer.reference):  # only the sum of an LSTM's biases counts
            assert candidate.cause == "recurrent-bias"
            continue
        found = diagnose(replace(layer, observed=seen)).cause
        assert found is not None
        assert found.text == candidate.text
        tried += 1
    assert tried >= 15


def test_another_step_than_the_last_is_named() -> None:
    layer = SuspectLayer(
        "last", "slice", (X,), X[:, -1], X[:, 0], {"axis": 1, "index": -1}, backend="pt"
    )
    found = diagnose(layer).cause
    assert found is not None
    assert found.text == "the first along axis 1 is taken, but should be the last"


def test_each_direction_s_own_end_is_told_from_one_step_of_both() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 8))
    ends = np.concatenate([x[:, -1, :4], x[:, 0, 4:]], axis=1)
    layer = SuspectLayer("last", "slice", (x,), x[:, -1], ends, {"axis": 1, "index": -1})
    found = diagnose(layer).cause
    assert found is not None
    assert found.text == "each direction's own final step, but should be one step of both"
