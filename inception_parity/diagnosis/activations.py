"""Activations in float64, by name; and the error function, which NumPy lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .suspect import Array

_ERF_STEP, _ERF_END = 1 / 32, 6.0  # beyond which erf is 1 in float64


def _erf_table() -> Array:
    """Return erf's Taylor coefficients, up to the 7th, at every step from 0 to the end."""
    at = np.arange(0, _ERF_END + _ERF_STEP, _ERF_STEP)
    terms = [np.array([math.erf(a) for a in at]), 2 / math.sqrt(math.pi) * np.exp(-(at**2))]
    for n in range(1, 7):  # of the derivatives: d[n + 1] = -2 a d[n] - 2 (n - 1) d[n - 1]
        terms.append(-2 * at * terms[n] - 2 * (n - 1) * terms[n - 1] * (n > 1))
    return np.stack([term / math.factorial(n) for n, term in enumerate(terms)])


_ERF = _erf_table()


def erf(x: Array) -> Array:
    """Return the error function, to float64's precision; NumPy has none."""
    size = np.fmin(np.abs(x), _ERF_END)
    at = np.rint(size / _ERF_STEP).astype(np.intp)
    apart = size - at * _ERF_STEP
    y: Any = 0.0
    for terms in _ERF[::-1]:
        y = y * apart + terms[at]
    return np.array(np.sign(x) * y)


def softmax(x: Array, axis: int = 1) -> Array:
    """Return the softmax along an axis, by default the channels."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.array(e / e.sum(axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int = 1) -> Array:
    """Return the logarithm of the softmax along an axis."""
    apart = x - x.max(axis=axis, keepdims=True)
    return np.array(apart - np.log(np.exp(apart).sum(axis=axis, keepdims=True)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "selu": lambda x: 1.0507009873554805 * np.where(
        x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0))
    ),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
    "mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "log_sigmoid": lambda x: -np.logaddexp(0.0, -x),
    "abs": np.abs,
    "linear": lambda x: x,
}  # fmt: skip

# Those with a number: the slope below 0, what an exponential is multiplied with, a factor.
SLOPED: dict[str, Callable[[Array, float], Array]] = {
    "leaky_relu": lambda x, slope: np.where(x < 0, slope * x, x),
    "elu": lambda x, slope: np.where(x > 0, x, slope * np.expm1(np.minimum(x, 0.0))),
    "celu": lambda x, slope: np.where(x > 0, x, slope * np.expm1(np.minimum(x, 0.0) / slope)),
    "hard_sigmoid": lambda x, slope: np.clip(slope * x + 0.5, 0.0, 1.0),
    "silu": lambda x, slope: x / (1 + np.exp(-slope * x)),
}
SLOPES = {"leaky_relu": 0.01, "elu": 1.0, "celu": 1.0, "hard_sigmoid": 1 / 6, "silu": 1.0}


def activated(x: Array, settings: Mapping[str, Any]) -> Array | None:
    """Return an activation with its settings, or None if it isn't known."""
    name = settings.get("function", "relu")
    if name in ("softmax", "log_softmax"):
        along = softmax if name == "softmax" else log_softmax
        return along(x, int(settings.get("axis", 1)))
    if name == "clip":
        low, high = settings.get("low"), settings.get("high")
        return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)
    if name == "leaky_relu" and (settings.get("threshold") or settings.get("high") is not None):
        return None
    if name in SLOPED and settings.get("slope", SLOPES[name]) is not None:
        return SLOPED[name](x, float(settings.get("slope", SLOPES[name])))
    return ACTIVATIONS[name](x) if name in ACTIVATIONS else None
