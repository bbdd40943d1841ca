"""Builds the kinds and settings that all frameworks' operations are described by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .layers import Settings

Described = tuple[str, Settings]  # kind, settings

# Frameworks' names of activations, in lower case and without underscores.
_ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "sigmoid": "sigmoid", "tanh": "tanh", "silu": "silu",
    "swish": "silu", "softplus": "softplus", "softrelu": "softplus", "softsign": "softsign",
    "selu": "selu", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_swish",
    "hardsilu": "hard_swish", "mish": "mish", "elu": "elu", "leakyrelu": "leaky_relu",
    "softmax": "softmax", "logsoftmax": "log_softmax", "gelu": "gelu", "celu": "celu",
    "logsigmoid": "log_sigmoid", "abs": "abs",
}  # fmt: skip


def activation_called(own: str) -> str | None:
    """Return the shared name of an activation, or None if a framework's name isn't one's."""
    return _ACTIVATIONS.get(own.lower().replace("_", ""))


def clip(low: Any, high: Any) -> Described:
    """Return values cut at both ends, or a ReLU if that is what it is."""
    if low == 0 and high in (6, None):
        return "act", {"function": "relu6" if high == 6 else "relu"}
    return "act", {"function": "clip", "low": low, "high": high}


def reduced(reduce: str, axes: Iterable[int], ndim: int, kind: str = "") -> Described:
    """Return a mean or maximum over some axes of the shared layout.

    Args:
        reduce: `mean` or `max`.
        axes: over which, from 0.
        ndim: how many the input has.
        kind: what it is, if it isn't a global pool; `reduce` by default.
    """
    where = sorted(axes)
    if ndim > 2 and where == list(range(2, ndim)):
        return "global_pool", {"reduce": reduce}
    return kind or reduce, {"axes": where}


def adaptive_pool(output: Sequence[int], reduce: str) -> Described:
    """Return a pool to a stated size, which is a global pool if every side is 1."""
    if set(output) == {1}:
        return "global_pool", {"reduce": reduce}
    return "adaptive_pool", {"output": tuple(output), "reduce": reduce}


def window_pool(
    reduce: str, window: Settings, ceil: bool = False, count_include_pad: bool = False
) -> Described:
    """Return a pool over windows.

    Args:
        reduce: `mean` or `max`.
        window: `kernel`, `stride`, `pads`, and perhaps `dilation`.
        ceil: whether a last window may reach beyond the input.
        count_include_pad: whether a mean counts its padding.
    """
    if reduce == "mean":
        return "avg_pool", {**window, "ceil": ceil, "count_include_pad": count_include_pad}
    return "max_pool", {"dilation": (1,) * len(window["kernel"]), **window, "ceil": ceil}


def zero_pad(pads: Sequence[Any], mode: str = "constant", fill: float = 0.0) -> Described:
    """Return a padding of the spatial axes."""
    return "pad", {"pads": pads, "mode": mode, "fill": fill}
