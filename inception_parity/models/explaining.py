"""Why two models differ: causes at the first wrong layers, and errors that these hide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.limits import LIMIT_FLOAT64
from ..diagnosis import SuspectLayer, diagnose
from ..diagnosis.arrays import CannotComputeError
from ..diagnosis.forward import compute
from ..diagnosis.suspect import distance
from .graph import ComparedLayer, ModelGraph, squeezed
from .judging import Judge
from .report import ModelReport

Array = NDArray[Any]

MOST_DIAGNOSED = 3


def explain(made: ModelReport, judge: Judge, progress: Callable[[str], None]) -> None:
    """Look for the causes at the first guilty layers, and for others that are wrong in themselves.

    Args:
        made: the report, to which the findings are added.
        judge: knows which differences are rounding.
        progress: called with a line that says what is being done.
    """
    match, pairs = made.match, made.match.pairs
    a, b = match.a, match.b
    guilty = [e for e in made.report.guilty if e.name in pairs]
    for endpoint in guilty[:MOST_DIAGNOSED]:
        progress(f"looking for the cause at {endpoint.name}")
        one, other = a.nodes[endpoint.name], b.nodes[pairs[endpoint.name]]
        between = a.before(one.name, pairs)[1], b.before(other.name, match.backwards)[1]
        if any(between):
            made.between[endpoint.name] = between
        seen = np.asarray(b.trace.array(other.value), dtype=np.float64)
        suspect = replace(
            _reference_layer(a, one), observed=_fitted(seen, a.trace.endpoints[one.value].shape),
            backend=b.trace.run.backend, dtype=b.trace.run.dtype, limit=judge.limit(endpoint),
        )  # fmt: skip
        made.diagnoses[endpoint.name] = diagnose(suspect)
    differ = {d.a for d in made.settings} | {d.a for d in made.weights}
    for endpoint in made.report.endpoints:
        name = endpoint.name
        if endpoint.fails and not endpoint.guilty and name in differ and name in pairs:
            progress(f"{name} by itself")
            apart = _alone(a, a.nodes[name], b, b.nodes[pairs[name]])
            if apart is not None and apart > LIMIT_FLOAT64:
                made.alone[name] = apart


def _reference_layer(a: ModelGraph, one: ComparedLayer) -> SuspectLayer:
    """Return a layer of a with nothing observed yet."""
    *inputs, reference = (
        np.asarray(a.trace.array(name), dtype=np.float64) for name in (*one.sources, one.value)
    )
    return SuspectLayer(
        one.name, one.kind, tuple(inputs), reference, None, one.settings, _weights(a, one)
    )


def _weights(graph: ModelGraph, node: ComparedLayer) -> dict[str, Array]:
    found = {role: graph.array(node, role) for role in node.weights}
    return {role: array.astype(np.float64) for role, array in found.items() if array is not None}


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array in `shape`, if only trailing ones tell the two apart; else as it is."""
    return array.reshape(shape) if squeezed(array.shape) == squeezed(shape) else array


def _alone(a: ModelGraph, one: ComparedLayer, b: ModelGraph, other: ComparedLayer) -> float | None:
    """Return how far b's layer is from a's when it is given a's input; None if that is unknown."""
    layer = _reference_layer(a, one)
    reference = layer.reference
    try:
        found = compute(
            replace(layer, kind=other.kind, attributes=other.settings, weights=_weights(b, other))
        )
    except (CannotComputeError, KeyError, TypeError, ValueError):
        return None
    if not reference.any() or not np.isfinite(found).all():
        return None
    return distance(_fitted(found, reference.shape), reference)
