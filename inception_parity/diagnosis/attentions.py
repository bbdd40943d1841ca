"""Attention in float64, with its projections or without, and embeddings."""

from __future__ import annotations

import numpy as np

from .activations import softmax
from .suspect import Array, SuspectLayer


def attention(layer: SuspectLayer, query: Array, key: Array, value: Array, *masks: Array) -> Array:
    """Return multi-head attention with its four projections.

    Args:
        layer: `heads`, `causal`, `scale`; weights q_weight, q_bias, …, out_weight, out_bias.
        query: (N, T, features).
        key: (N, S, features).
        value: (N, S, features).
        masks: one that says where to attend, 1 or 0; or what is added, if `additive`. It
            broadcasts to (N, heads, T, S).
    """
    heads = int(layer.get("heads"))
    parts = [
        _split(layer, _projected(layer, x, role), heads)
        for x, role in ((query, "q"), (key, "k"), (value, "v"))
    ]
    y = attended(layer, *parts, *masks)
    y = y.swapaxes(1, 2)
    if layer.get("interleaved"):
        y = y.swapaxes(2, 3)
    return _projected(layer, y.reshape(*y.shape[:2], -1), "out")


def attended(layer: SuspectLayer, query: Array, key: Array, value: Array, *masks: Array) -> Array:
    """Return attention without projections, of (…, T, size), (…, S, size) and (…, S, size)."""
    scale = layer.get("scale")
    scale = 1 / np.sqrt(query.shape[-1]) if scale is None else float(scale)
    scores = scale * query @ key.swapaxes(-1, -2)
    steps, places = scores.shape[-2:]
    if masks and layer.get("additive"):
        scores = scores + masks[0]
    elif masks and layer.get("masked") is not False:
        scores = np.where(masks[0] > 0.5, scores, -np.inf)
    if layer.get("causal"):
        offset = places - steps if layer.get("aligned_last") else 0
        seen = np.tri(steps, places, offset, dtype=bool)
        scores = np.where(seen, scores, -np.inf)
    axis = -2 if layer.get("over_queries") else -1
    weights = np.nan_to_num(softmax(scores, axis))  # where nothing may be attended to
    return np.array(weights @ value)


def _projected(layer: SuspectLayer, x: Array, role: str) -> Array:
    y = x @ layer.weights[f"{role}_weight"].T
    return np.array(y + layer.weights.get(f"{role}_bias", 0.0))


def _split(layer: SuspectLayer, x: Array, heads: int) -> Array:
    """(N, T, heads * size) -> (N, heads, T, size)."""
    if layer.get("interleaved"):
        return x.reshape(*x.shape[:2], -1, heads).transpose(0, 3, 1, 2)
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def embedding(layer: SuspectLayer, places: Array) -> Array:
    """Return rows of a table."""
    table = layer.weights["weight"]
    rows = places.astype(np.intp) + int(layer.get("shift") or 0)
    return table[np.clip(rows, 0, len(table) - 1)]
