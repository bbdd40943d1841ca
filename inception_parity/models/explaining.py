"""Why two models differ: the cause at the first wrong layer, and what it hides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.limits import LIMIT_FLOAT64
from ..diagnosis import SuspectLayer, diagnose
from ..diagnosis.forward import CannotComputeError, compute
from .graph import ComparedLayer, ModelGraph, squeezed
from .matched_weights import array_of
from .recorder import ModelTrace
from .report import ModelReport
from .rounding import Limits

Array = NDArray[Any]

MOST_DIAGNOSED = 3


def suspect_of(
    a: ModelGraph, one: ComparedLayer, b: ModelTrace, other: ComparedLayer | None, limit: float
) -> SuspectLayer:
    """Return a layer of a, with what b made of it, for diagnosis; None: b has no such layer."""
    observed = None
    reference = np.asarray(a.trace.array(one.value), dtype=np.float64)
    if other is not None:
        found = np.asarray(b.array(other.value), dtype=np.float64)
        same = squeezed(found.shape) == squeezed(reference.shape)
        observed = found.reshape(reference.shape) if same else found
    return SuspectLayer(
        one.name,
        one.kind,
        tuple(np.asarray(a.trace.array(source), dtype=np.float64) for source in one.sources),
        reference,
        observed,
        one.settings,
        _float64(a, one),
        b.run.backend,
        b.run.dtype,
        limit,
    )


def unmatched_before(graph: ModelGraph, name: str, matched: set[str]) -> list[str]:
    """Return the layers without a counterpart between one and the nearest that have one."""
    found: list[str] = []
    todo = list(graph.nodes[name].inputs)
    while todo:
        source = todo.pop(0)
        if source not in matched and source not in found:
            found.append(source)
            todo += graph.nodes[source].inputs
    return found


def _float64(graph: ModelGraph, node: ComparedLayer) -> dict[str, Array]:
    found = {role: array_of(graph, node, role) for role in node.weights}
    return {role: array.astype(np.float64) for role, array in found.items() if array is not None}


def explain(
    made: ModelReport, a: ModelGraph, b: ModelGraph, limits: Limits, progress: Callable[[str], None]
) -> None:
    """Look for causes at the first guilty layers, and for other layers that are wrong alone."""
    guilty = [e for e in made.report.guilty if e.name in made.match.pairs]
    for endpoint in guilty[:MOST_DIAGNOSED]:
        progress(f"looking for the cause at {endpoint.name}")
        one, other = a.nodes[endpoint.name], b.nodes[made.match.pairs[endpoint.name]]
        limit = limits.of(endpoint)
        between = (
            unmatched_before(a, one.name, set(made.match.pairs)),
            unmatched_before(b, other.name, set(made.match.pairs.values())),
        )
        if any(between):
            made.between[endpoint.name] = between
        made.diagnoses[endpoint.name] = diagnose(suspect_of(a, one, made.b, other, limit))
    differ = {d.a for d in made.settings} | {d.a for d in made.weights}
    failing = [e.name for e in made.report.endpoints if e.fails and not e.guilty]
    for name in failing:
        if name in differ and name in made.match.pairs:
            progress(f"{name} by itself")
            apart = _alone(a, a.nodes[name], b, b.nodes[made.match.pairs[name]])
            if apart is not None and apart > LIMIT_FLOAT64:
                made.alone[name] = apart


def _alone(a: ModelGraph, one: ComparedLayer, b: ModelGraph, other: ComparedLayer) -> float | None:
    """Return how far b's layer is from a's if it is given a's input: what it does wrong itself."""
    reference = np.asarray(a.trace.array(one.value), dtype=np.float64)
    inputs = tuple(np.asarray(a.trace.array(s), dtype=np.float64) for s in one.sources)
    layer = SuspectLayer(
        one.name, other.kind, inputs, reference, None, other.settings, _float64(b, other)
    )
    try:
        found = compute(layer)
    except (CannotComputeError, KeyError, TypeError, ValueError):
        return None
    if squeezed(found.shape) != squeezed(reference.shape):
        return float("inf")
    norm = float(np.linalg.norm(reference))
    return (
        float(np.linalg.norm(found.reshape(reference.shape) - reference)) / norm if norm else None
    )
