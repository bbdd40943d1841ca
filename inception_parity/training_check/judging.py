"""Training traces beside each other and beside the oracle's: rows, each with its own truth.

A row is one quantity of one backend. The oracle knows the loss, batch norm's
statistics and directional derivatives of the loss; the definition of the optimiser
knows what a step makes of a gradient; frozen arrays have to be as they were loaded. What
no oracle knows, gradients and the weights after some steps, is held against the other
backends: with three of them, the one that is wrong is the one that two agree against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.comparing import IDENTICAL, ROUNDING, WRONG
from ..numerics import to_dtype
from ..traces.trace import Trace
from .derivatives import DIRECTIONS, IMAGES, direction, spread
from .limits import (
    MOST_NOISE,
    NOISES,
    QUANTITIES,
    Weights,
    endpoints_of,
    limits,
    scale_endpoint,
    size_of,
    steepness,
    usable,
)
from .task import Recipe

# Measured, not judged: below float64, or where rounding alone has parted the backends.
SHOWN = "shown"

EACH_OTHER = (
    "gradient.1",
    "input gradient",
    "gradient.K",
    "weights.1",
    "statistics.K",
    "weights.K",
)


@dataclass
class Row:
    """One quantity of one backend."""

    quantity: str
    backend: str
    dtype: str
    against: str  # the oracle, each other, the definition, as loaded, its own float64 run
    verdict: str
    total: int = 0  # arrays
    wrong: tuple[str, ...] = ()  # the names of those that don't agree
    worst: float | None = None
    at: str = ""
    limit: float | None = None
    # Those above the limit that agree nevertheless: no further apart than what the definition
    # of the optimiser makes of the noise that gradients have.
    above: tuple[str, ...] = ()
    allowed: float | None = None  # for `at`, where it is one of them
    problem: str = ""  # why an array has no number: missing, NaN, misshapen, …

    @property
    def fails(self) -> bool:
        """Whether this row doesn't agree."""
        return self.verdict == WRONG


def judge(
    traces: Mapping[tuple[str, str], Trace], oracle: Trace, weights: Weights, recipe: Recipe
) -> list[Row]:
    """Return all rows, backend by backend.

    Args:
        traces: (backend, dtype) -> its training trace.
        oracle: the oracle's.
        weights: shared weights, as they were loaded.
        recipe: how was trained.
    """
    rows: list[Row] = []
    dtypes = list(dict.fromkeys(dtype for _, dtype in traces))
    double = [trace for (_, dtype), trace in traces.items() if dtype == "float64"]
    known = limits(oracle, double, weights, recipe)
    for dtype in dtypes:
        column = {backend: t for (backend, d), t in traces.items() if d == dtype}
        for quantity in QUANTITIES:
            if quantity.endswith(".K") and recipe.steps == 1:
                continue
            if quantity == "frozen" and not recipe.frozen:
                continue
            if quantity.startswith("statistics") and not endpoints_of(weights, quantity):
                continue
            rows += _judge(quantity, dtype, column, traces, oracle, weights, recipe, known)
    backends = list(dict.fromkeys(backend for backend, _ in traces))
    return sorted(rows, key=lambda r: (backends.index(r.backend), dtypes.index(r.dtype)))


def _judge(
    quantity: str,
    dtype: str,
    column: Mapping[str, Trace],
    traces: Mapping[tuple[str, str], Trace],
    oracle: Trace,
    weights: Weights,
    recipe: Recipe,
    known: Mapping[str, float | None],
) -> Iterator[Row]:
    """Yield one quantity's row for each backend of one dtype."""
    if quantity in EACH_OTHER:
        noise = min(NOISES * float(oracle.array("noise")[0]), MOST_NOISE)
        yield from _beside_each_other(quantity, column, weights, recipe, known, noise)
        if dtype != "float64":
            for backend, trace in column.items():
                own = traces.get((backend, "float64"))
                if own is not None:
                    row = _empty(quantity, trace, "its float64 run", known)
                    yield _row(row, trace, weights, recipe, own)
        return
    for trace in column.values():
        if quantity == "derivative":
            row = _empty(quantity, trace, "the oracle", known)
            yield _derivatives(row, trace, oracle, weights, recipe)
        elif quantity == "update":
            row = _empty(quantity, trace, "the definition", known)
            yield _row(row, trace, weights, recipe, None)
        elif quantity == "frozen":
            yield _frozen(_empty(quantity, trace, "as loaded", known), trace, weights, recipe)
        else:
            row = _empty(quantity, trace, "the oracle", known)
            yield _row(row, trace, weights, recipe, oracle)


def _row(row: Row, trace: Trace, weights: Weights, recipe: Recipe, truth: Trace | None) -> Row:
    """Hold all arrays of a quantity against `truth`; without, they are differences already."""
    quantity = row.quantity
    wrong = []
    for endpoint in endpoints_of(weights, quantity, recipe):
        row.total += 1
        name = endpoint.removeprefix(quantity).strip() or endpoint
        scale = scale_endpoint(quantity, endpoint, weights)
        array = usable(trace, endpoint)
        if truth is not None and not {endpoint, scale} <= truth.endpoints.keys():
            array = f"missing from {row.against}" if not isinstance(array, str) else array
        if isinstance(array, str):
            row.problem = row.problem or f"{name}: {array}"
            wrong.append(name)
            continue
        if truth is None:
            apart = float(array.max())
        else:
            known = truth.array(endpoint)
            norm = size_of(truth.array(scale))
            apart = _apart(array[: len(known)] if quantity == "loss" else array, known, norm)
        if row.worst is None or apart > row.worst:
            row.worst, row.at = apart, name
        if row.limit is not None and not apart <= row.limit:
            wrong.append(name)
    return _concluded(row, wrong)


def _beside_each_other(
    quantity: str,
    column: Mapping[str, Trace],
    weights: Weights,
    recipe: Recipe,
    known: Mapping[str, float | None],
    noise: float,
) -> list[Row]:
    """Hold backends against each other: each array against the one nearest to the others."""
    if len(column) < 2:
        return []
    rows = {b: _empty(quantity, t, "each other", known) for b, t in column.items()}
    wrong: dict[str, list[str]] = {b: [] for b in column}
    first = quantity == "weights.1"
    for endpoint in endpoints_of(weights, quantity, recipe):
        name = endpoint.removeprefix(quantity).strip() or endpoint
        found = {b: usable(t, endpoint) for b, t in column.items()}
        arrays = {b: a for b, a in found.items() if not isinstance(a, str)}
        scale = scale_endpoint(quantity, endpoint, weights)
        norms = {b: size_of(column[b].array(scale)) for b in arrays if scale in column[b]}
        apart = _to_the_nearest(arrays, norms)
        for backend, row in rows.items():
            row.total += 1
            problem = found[backend]
            if isinstance(problem, str):
                row.problem = row.problem or f"{name}: {problem}"
                wrong[backend].append(name)
            elif backend in apart:
                worst = row.worst is None or apart[backend] > row.worst
                if worst:
                    row.worst, row.at, row.allowed = apart[backend], name, None
                if row.limit is None or apart[backend] <= row.limit:
                    continue
                allowed = steepness(name, column, weights, recipe, noise) if first else 0.0
                if apart[backend] <= allowed:
                    row.above += (name,)
                    row.allowed = allowed if worst else row.allowed
                else:
                    wrong[backend].append(name)
    return [_concluded(row, wrong[backend]) for backend, row in rows.items()]


def _to_the_nearest(
    arrays: Mapping[str, NDArray[Any]], norms: Mapping[str, float]
) -> dict[str, float]:
    """Return each backend's distance to the one in the middle; its own, to the next.

    With three backends, one that is wrong is never in the middle.
    """
    if len(arrays) < 2:
        return {}
    distances = {
        pair: _apart(arrays[pair[0]], arrays[pair[1]], max(norms.get(b, 0.0) for b in pair))
        for pair in combinations(arrays, 2)
    }

    def between(a: str, b: str) -> float:
        return distances[a, b] if (a, b) in distances else distances[b, a]

    middle = min(arrays, key=lambda a: sum(between(a, b) for b in arrays if b != a))
    return {
        a: between(a, middle) if a != middle else min(between(a, b) for b in arrays if b != a)
        for a in arrays
    }


def _derivatives(row: Row, trace: Trace, oracle: Trace, weights: Weights, recipe: Recipe) -> Row:
    """Hold <gradient, direction> against the oracle's derivatives.

    Relative to what the product of independent gradients and directions would be on average:
    by itself it may be small by chance.
    """
    row.total = DIRECTIONS + 1
    wrong = []
    names = [n.removeprefix("gradient.1 ") for n in endpoints_of(weights, "gradient.1", recipe)]
    products = np.zeros(DIRECTIONS)
    square = 0.0
    for name in names:
        gradient = usable(trace, f"gradient.1 {name}")
        if isinstance(gradient, str):
            row.problem = row.problem or f"{name}: {gradient}"
            continue
        wide = gradient.astype(np.float64) * spread(weights[name])
        square += float((wide**2).sum())
        for number in range(DIRECTIONS):
            products[number] += float((wide * direction(name, wide.shape, number)).sum())
    images = usable(trace, "input gradient")
    found = {str(n): (float(products[n]), np.sqrt(square)) for n in range(DIRECTIONS)}
    if isinstance(images, str):
        row.problem = row.problem or images
    else:
        wide = images.astype(np.float64)
        along = float((wide * direction(IMAGES, wide.shape, 0)).sum())
        found[IMAGES] = along, float(np.linalg.norm(wide))
    for which, (product, scale) in found.items():
        apart = abs(product - float(oracle.array(f"derivative {which}")[0])) / (scale or 1.0)
        if row.worst is None or not apart <= row.worst:
            row.worst, row.at = apart, f"direction {which}"
        if row.limit is not None and not apart <= row.limit:
            wrong.append(f"direction {which}")
    return _concluded(row, wrong)


def _frozen(row: Row, trace: Trace, weights: Weights, recipe: Recipe) -> Row:
    """Hold what is frozen against what was loaded: bit for bit, in every dtype."""
    row.total, row.limit = len(recipe.frozen), 0.0
    last = "K" if recipe.steps > 1 else "1"
    wrong = []
    for name in recipe.frozen:
        array = usable(trace, f"weights.{last} {name}")
        if isinstance(array, str):
            row.problem = row.problem or f"{name}: {array}"
            wrong.append(name)
            continue
        loaded = to_dtype(weights[name], trace.run.dtype)
        if not np.array_equal(array, loaded):
            apart = _apart(array, loaded, float(np.linalg.norm(loaded)))
            if row.worst is None or apart > row.worst:
                row.worst, row.at = apart, name
            wrong.append(name)
    row.wrong = tuple(wrong)
    row.verdict = WRONG if wrong else IDENTICAL
    return row


def _empty(quantity: str, trace: Trace, against: str, known: Mapping[str, float | None]) -> Row:
    limit = known[quantity] if trace.run.dtype == "float64" else None
    return Row(quantity, trace.run.backend, trace.run.dtype, against, SHOWN, limit=limit)


def _concluded(row: Row, wrong: Sequence[str]) -> Row:
    row.wrong = tuple(wrong)
    if wrong or row.problem:
        row.verdict = WRONG
    elif row.limit is not None:
        row.verdict = IDENTICAL if row.worst == 0.0 else ROUNDING
    return row


def _apart(array: NDArray[Any], truth: NDArray[Any], norm: float) -> float:
    if array.shape != truth.shape:
        return float("inf")
    difference = float(np.linalg.norm(array.astype(np.float64) - truth.astype(np.float64)))
    return difference / norm if norm else (0.0 if difference == 0 else float("inf"))
