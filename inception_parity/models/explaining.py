"""Why two models differ: causes at the first wrong layers, and errors that these hide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.limits import LIMIT_FLOAT64
from ..diagnosis import SuspectLayer, diagnose
from ..diagnosis.arrays import CannotComputeError
from ..diagnosis.forward import compute
from ..diagnosis.suspect import Finding, distance
from ..errors import few
from .float32_inside import as_resize, exact, may_differ, name_of
from .graph import ComparedLayer, ModelGraph, squeezed
from .judging import MOST_INSIDE, Judge
from .match import Match
from .regions import Before, places
from .report import ModelReport

Array = NDArray[Any]

MOST_DIAGNOSED = 3
LIKELY = 2  # the cost up to which a mistake in the layer is likelier than one before it


def explain(made: ModelReport, judge: Judge, progress: Callable[[str], None]) -> None:
    """Look for the causes at the first guilty layers, and for others that are wrong in themselves.

    Args:
        made: the report, to which the findings are added.
        judge: knows which differences are rounding.
        progress: called with a line that says what is being done.
    """
    match, pairs = made.match, made.match.pairs
    a, b = match.a, match.b
    for endpoint in made.report.guilty[:MOST_DIAGNOSED]:
        name = endpoint.name
        before = made.points.before.get(name)
        if before is None:
            continue  # an output that only one of the two has
        progress(f"looking for the cause at {name}")
        suspect = _suspect(match, name, judge.limit(endpoint))
        found = made.diagnoses[name] = diagnose(suspect)
        if (found.cause is None or found.cause.cost > LIKELY) and (before.a or before.b):
            found.findings[:0] = _region_causes(match, before, suspect)
    differ = {d.a for d in made.settings} | {d.a for d in made.weights}
    for endpoint in made.report.endpoints:
        name = endpoint.name
        if endpoint.fails and not endpoint.guilty and name in differ and name in pairs:
            progress(f"{name} by itself")
            apart = _alone(a, a.nodes[name], b, b.nodes[pairs[name]])
            if apart is not None and apart > LIMIT_FLOAT64:
                made.alone[name] = apart


def _suspect(match: Match, name: str, limit: float) -> SuspectLayer:
    """Return a's layer with what b's gives, or an output of a with b's."""
    trace = match.b.trace
    if name in match.pairs:
        value = match.b.nodes[match.pairs[name]].value
        layer = as_resize(_reference_layer(match.a, match.a.nodes[name]))
    else:
        value = dict(places(match))[name]
        reference = np.asarray(match.a.trace.array(name), dtype=np.float64)
        layer = SuspectLayer(name, "output", (reference,), reference, None)
    seen = np.asarray(trace.array(value), dtype=np.float64)
    return replace(
        layer, observed=_fitted(seen, layer.reference.shape), backend=trace.run.backend,
        dtype=trace.run.dtype, limit=limit,
    )  # fmt: skip


def _region_causes(match: Match, before: Before, suspect: SuspectLayer) -> list[Finding]:
    """Return that the layers between make the difference, if a point is right in itself.

    It is, if a's layer makes b's output of b's own input. What both models have before it agrees,
    so that nothing is left but the layers that only one of the two has.
    """
    other, left = match.pairs.get(suspect.name), 0.0
    if other is not None:
        fed = [np.asarray(match.b.trace.given_on(source), dtype=np.float64)
               for source in match.b.nodes[other].sources]  # fmt: skip
        try:
            found = compute(suspect.fed(*fed))
        except (CannotComputeError, KeyError, TypeError, ValueError):
            return []
        left = distance(suspect.seen, _fitted(found, suspect.seen.shape))
    if left > suspect.limit:
        return []
    mine, theirs = _called(match.a, before.a), _called(match.b, before.b)
    if not theirs:
        cause, text, line = "layer-missing", f"the second has no {mine} here", f"add {mine} here"
    elif not mine:
        cause, text, line = "layer-surplus", f"the first has no {theirs} here", f"remove {theirs}"
    else:
        cause, text, line = "other-operations", f"{theirs}, but should be {mine}", ""
    apart = distance(suspect.seen, suspect.reference)
    evidence = "" if other is None else f"{suspect.name} itself gives the same for the same input"
    size = apart if np.isfinite(apart) else None
    return [Finding(cause, text, size, left, line, evidence=evidence)]


def _called(graph: ModelGraph, names: Sequence[str]) -> str:
    """Return what layers are called, in the order in which they run."""
    order = {name: place for place, name in enumerate(graph.nodes)}
    kinds = [graph.nodes[name].describe() for name in sorted(names, key=order.__getitem__)]
    return few(kinds, 4)


def _reference_layer(a: ModelGraph, one: ComparedLayer) -> SuspectLayer:
    """Return a layer of a with nothing observed yet.

    Where a's framework has float32 inside such a layer, its reference is the exact output.
    """
    inputs = tuple(np.asarray(a.trace.given_on(n), dtype=np.float64) for n in one.sources)
    reference = np.asarray(a.trace.array(one.value), dtype=np.float64)
    layer = SuspectLayer(
        one.name, one.kind, inputs, reference, None, one.settings, _weights(a, one)
    )
    name = name_of(one.kind, one.settings)
    if a.trace.run.dtype != "float64" or not may_differ((a.trace.run.backend, name)):
        return layer
    try:
        found = exact(layer, name, str(one.settings.get("rule", "")))
    except (CannotComputeError, KeyError, TypeError, ValueError, IndexError):
        return layer
    near = found.shape == reference.shape and distance(found, reference) <= MOST_INSIDE
    return replace(layer, reference=found) if near else layer


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
