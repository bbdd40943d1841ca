"""Batch norms that one model computes within the convolution before them, as exporters write them.

They fold in float32: the weights in a file are the exact ones, rounded a few times. Such a
convolution is the fold of another and a norm if every one of its weights is what these two make,
to a few units of float32's roundoff. An eps, a mean or a weight that is off by more is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.limits import LIMIT_FLOAT64
from ..diagnosis.arrays import CannotComputeError
from ..diagnosis.forward import compute
from ..diagnosis.suspect import SuspectLayer, distance
from ..numerics import UNIT_ROUNDOFF
from .graph import ComparedLayer
from .recorder import ModelTrace

Array = NDArray[np.float64]

KINDS = ("conv", "dense", "conv_transpose")
# In units of float32's roundoff: an exporter rounds a weight six times on the way, the sum of the
# variance and eps, its root, the quotient, the product, and for a bias a sum at each end.
UNITS = 8


@dataclass(frozen=True)
class Fold:
    """A convolution and the norm after it in one model, and the convolution that is both.

    Args:
        apart: the trace of the model that computes them one after the other.
        layer: its convolution.
        norm: its norm.
        within: the trace of the other model.
        both: the other's convolution.
    """

    apart: ModelTrace
    layer: ComparedLayer
    norm: ComparedLayer
    within: ModelTrace
    both: ComparedLayer

    def holds(self) -> bool:
        """Return whether the other's weights are these two's, folded in float32."""
        if self.layer.kind not in KINDS or "weight" not in self.layer.weights:
            return False
        held = {role: _array(self.within, self.both, role) for role in ("weight", "bias")}
        weights, slack = self._folded()
        return all(
            array is not None
            and array.shape == weights[role].shape
            and bool((np.abs(array - weights[role]) <= slack[role]).all())
            for role, array in held.items()
        )

    def explains(self) -> bool:
        """Return whether that is all by which the two differ: each gives what its weights make."""
        weights, _ = self._folded()
        held = {role: self.within.weight(*self.both.weights[role]).astype(np.float64)
                for role in ("weight", "bias")}  # fmt: skip
        return all(
            _gives(trace, fed, self.layer, value, arrays)
            for trace, fed, value, arrays in (
                (self.apart, self.layer, self.norm.value, weights),
                (self.within, self.both, self.both.value, held),
            )
        )

    def _folded(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the exact weights of the two in one, and how far float32 may take each."""
        weight = self.apart.weight(*self.layer.weights["weight"]).astype(np.float64)
        channels = len(weight)
        norm = {role: _array(self.apart, self.norm, role)
                for role in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
        zeros, ones = np.zeros(channels), np.ones(channels)
        gamma, beta, mean, variance = (
            usual if array is None else array
            for array, usual in zip(norm.values(), (ones, zeros, zeros, ones), strict=True)
        )
        own = _array(self.apart, self.layer, "bias")
        bias = zeros if own is None else own
        scale = gamma / np.sqrt(variance + float(self.norm.settings.get("eps", 0.0)))
        kernel = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        unit = UNITS * UNIT_ROUNDOFF["float32"]
        moved = (np.abs(bias) + np.abs(mean)) * np.abs(scale)
        return (
            {"weight": kernel, "bias": (bias - mean) * scale + beta},
            {"weight": unit * np.abs(kernel), "bias": unit * (moved + np.abs(beta))},
        )


def _gives(
    trace: ModelTrace, fed: ComparedLayer, settings: ComparedLayer, value: str,
    weights: dict[str, Array],
) -> bool:  # fmt: skip
    """Return whether a convolution with these weights gives what was recorded."""
    x = np.asarray(trace.given_on(fed.sources[0]), dtype=np.float64)
    seen = np.asarray(trace.array(value), dtype=np.float64)
    layer = SuspectLayer(
        settings.name, settings.kind, (x,), seen, None, settings.settings, dict(weights)
    )
    try:
        found = compute(layer)
    except (CannotComputeError, KeyError, TypeError, ValueError):
        return False
    return found.shape == seen.shape and distance(seen, found) <= LIMIT_FLOAT64


def _array(trace: ModelTrace, node: ComparedLayer, role: str) -> Array | None:
    found = node.weights.get(role)
    return None if found is None else trace.weight(*found).astype(np.float64)
