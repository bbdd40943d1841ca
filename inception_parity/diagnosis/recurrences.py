"""What one direction of one recurrent layer computes, in float64: LSTM, GRU and the simple RNN.

Sequences are (N, T, features). Gates are in PyTorch's order, i, f, g, o and r, z, n, each a block
of rows of `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .activations import ACTIVATIONS
from .suspect import Array, SuspectLayer

GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}

_Function = Callable[[Array], Array]
_Step = Callable[[Array, Array, Array], tuple[Array, Array]]  # x's share, h, c -> the new h, c

# Keras up to version 2 used it for gates: another slope than the usual 1/6.
_STEEPER = "hard_sigmoid_0.2"


def recurrent(layer: SuspectLayer, x: Array, *states: Array) -> Array:
    """Return the output of every step.

    Args:
        layer: an `lstm`, a `gru` or an `rnn`.
        x: the sequences, (N, T, features).
        states: the first h, and an LSTM's first c, each (N, hidden); zeros if not given.
    """
    hidden = layer.weights["weight_hh"].shape[1]
    h, c = (*states, *np.zeros((2, len(x), hidden)))[:2] if len(states) < 2 else states
    backwards = bool(layer.get("reverse"))
    weights, step = layer.weights, _STEPS[layer.kind](layer)
    shares = x @ weights["weight_ih"].T + weights.get("bias_ih", 0.0)
    order = range(x.shape[1])[::-1] if backwards else range(x.shape[1])
    y = np.empty((len(x), x.shape[1], hidden))
    for t in order:
        h, c = step(shares[:, t], h, c)
        y[:, t] = h
    return y


def _gate(layer: SuspectLayer) -> _Function:
    name = layer.get("recurrent_function")
    return _hard_sigmoid if name == _STEEPER else ACTIVATIONS[name]


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(0.2 * x + 0.5, 0.0, 1.0)


def _lstm(layer: SuspectLayer) -> _Step:
    gate, function = _gate(layer), ACTIVATIONS[layer.get("function")]
    matrix, bias = layer.weights["weight_hh"].T, layer.weights.get("bias_hh", 0.0)

    def step(share: Array, h: Array, c: Array) -> tuple[Array, Array]:
        i, f, g, o = np.split(share + h @ matrix + bias, 4, axis=1)
        c = gate(f) * c + gate(i) * function(g)
        return gate(o) * function(c), c

    return step


def _gru(layer: SuspectLayer) -> _Step:
    gate, function = _gate(layer), ACTIVATIONS[layer.get("function")]
    matrix = layer.weights["weight_hh"]
    size = matrix.shape[1]
    bias = np.broadcast_to(layer.weights.get("bias_hh", 0.0), 3 * size)
    after = bool(layer.get("reset_after"))

    def step(share: Array, h: Array, c: Array) -> tuple[Array, Array]:
        both = share[:, : 2 * size] + h @ matrix[: 2 * size].T + bias[: 2 * size]
        r, z = np.split(gate(both), 2, axis=1)
        new, more = matrix[2 * size :].T, bias[2 * size :]
        recalled = r * (h @ new + more) if after else (r * h) @ new + more
        n = function(share[:, 2 * size :] + recalled)
        return (1 - z) * n + z * h, c

    return step


def _rnn(layer: SuspectLayer) -> _Step:
    function = ACTIVATIONS[layer.get("function")]
    matrix, bias = layer.weights["weight_hh"].T, layer.weights.get("bias_hh", 0.0)
    return lambda share, h, c: (function(share + h @ matrix + bias), c)


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
