"""Training traces compared with each other and with the oracle's.

A judgement is about one quantity of one backend. The oracle knows the loss, batch norm's
statistics and directional derivatives of the loss; the definition of the optimizer
knows what a step makes of a gradient; frozen arrays have to stay as they were loaded. What
no oracle knows, gradients and the weights after some steps, is compared with the other
backends: with three of them, the wrong one is the one that two agree against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.comparing import IDENTICAL, ROUNDING, WRONG
from ..comparison.limits import LIMIT_GRADIENT_NOISES, MOST_GRADIENT_NOISE
from ..numerics import to_dtype
from ..traces.freezing import frozen_norms
from ..traces.trace import Trace
from ..traces.weights import is_statistic
from .derivatives import DIRECTIONS, IMAGES, direction, spread
from .limits import (
    LATER,
    QUANTITIES,
    Arrays,
    limits_by_quantity,
    middle,
    noise_by_array,
    size_of,
    steepness,
    usable,
)
from .trial import FIRST, LAST, Trial, endpoint

# Measured, not judged: below float64, or where rounding alone has driven the backends apart.
SHOWN = "shown"

EACH_OTHER = (
    f"gradient.{FIRST}",
    "input gradient",
    f"gradient.{LAST}",
    f"weights.{FIRST}",
    f"statistics.{LAST}",
    f"weights.{LAST}",
)
Key = tuple[str, str]  # backend, dtype


@dataclass
class Judgement:
    """The finding about one quantity of one backend."""

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
    # Those above the limit that agree nevertheless: no further apart than another last digit in
    # each weight, or the noise in gradients by the definition of the optimizer, can drive them.
    above: tuple[str, ...] = ()
    allowed: float | None = None  # for `at`, where it is one of them
    problem: str = ""  # why an array has no number: missing, NaN, misshapen, …

    @property
    def fails(self) -> bool:
        """Whether the backend doesn't agree."""
        return self.verdict == WRONG

    def take(
        self, name: str, apart: float, noise: float = 0.0, more: Callable[[], float] | None = None
    ) -> None:
        """Count how far an array is apart; above the limit, `noise` or `more` may permit it."""
        name = name or self.quantity
        worst = self.worst is None or not apart <= self.worst
        if worst:
            self.worst, self.at, self.allowed = apart, name, None
        if self.limit is None or apart <= self.limit:
            return
        allowed = max(noise, more() if more else 0.0)
        if apart <= allowed:
            self.above += (name,)
            self.allowed = allowed if worst else self.allowed
        else:
            self.wrong += (name,)

    def refuse(self, name: str, problem: str) -> None:
        """Count an array that can't be used as wrong."""
        name = name or self.quantity
        self.problem = self.problem or f"{name}: {problem}"
        self.wrong += (name,)

    def array(self, trace: Trace, quantity: str, name: str) -> NDArray[Any] | None:
        """Return the array of a quantity in a trace; None after `refuse` if it can't be used."""
        found = usable(trace, endpoint(quantity, name))
        if isinstance(found, str):
            self.refuse(name, found)
            return None
        return found

    def concluded(self) -> Judgement:
        """Return the judgement, with its verdict on all that was counted."""
        if self.wrong or self.problem:
            self.verdict = WRONG
        elif self.limit is not None:
            self.verdict = IDENTICAL if self.worst == 0.0 else ROUNDING
        return self


def judge(
    traces: Mapping[Key, Trace], oracle: Trace, arrays: Arrays, trial: Trial
) -> list[Judgement]:
    """Return all judgements of training traces, backend by backend."""
    double = [trace for (_, dtype), trace in traces.items() if dtype == "float64"]
    known = limits_by_quantity(oracle, double, arrays)
    comparer = Comparer(traces, oracle, arrays, trial, known)
    backends = list(dict.fromkeys(backend for backend, _ in traces))
    dtypes = list(dict.fromkeys(dtype for _, dtype in traces))
    quantities = [
        quantity
        for quantity in QUANTITIES
        if not (quantity in LATER and trial.steps == 1)
        and not (quantity == "frozen" and not trial.recipe.frozen)
        and not (quantity.startswith("statistics") and not any(map(is_statistic, arrays.weights)))
    ]
    found = [j for dtype in dtypes for each in quantities for j in comparer.all_of(each, dtype)]
    return sorted(found, key=lambda j: (backends.index(j.backend), dtypes.index(j.dtype)))


@dataclass(frozen=True)
class Comparer:
    """Compares traces of training, quantity by quantity."""

    traces: Mapping[Key, Trace]
    oracle: Trace
    arrays: Arrays
    trial: Trial
    limits: Mapping[str, float | None]  # in float64, by quantity

    def all_of(self, quantity: str, dtype: str) -> Iterator[Judgement]:
        """Yield the judgements on one quantity, of each backend in one dtype."""
        column = {backend: t for (backend, d), t in self.traces.items() if d == dtype}
        if quantity in EACH_OTHER:
            yield from self.each_other(quantity, column)
            for backend, trace in column.items():
                own = self.traces.get((backend, "float64"))
                if own is not None and own is not trace:
                    yield self._with(quantity, trace, "its float64 run", own)
            return
        for trace in column.values():
            if quantity == "derivative":
                yield self._derivatives(trace)
            elif quantity == "update":
                yield self._with(quantity, trace, "the definition", None)
            elif quantity == "frozen":
                yield self._frozen(trace)
            else:
                yield self._with(quantity, trace, "the oracle", self.oracle)

    def _empty(self, quantity: str, trace: Trace, against: str, total: int) -> Judgement:
        run = trace.run
        limit = self.limits[quantity] if run.dtype == "float64" else None
        return Judgement(quantity, run.backend, run.dtype, against, SHOWN, total, limit=limit)

    def _with(self, quantity: str, trace: Trace, against: str, truth: Trace | None) -> Judgement:
        """Compare all arrays of a quantity with `truth`; without, they are differences already."""
        names = self.arrays.names_of(quantity)
        judgement = self._empty(quantity, trace, against, len(names))
        noise = noise_by_array(quantity, [self.oracle] if truth is self.oracle else [])
        for name in names:
            array = judgement.array(trace, quantity, name)
            if array is None:
                continue
            own = endpoint(quantity, name)
            scale = endpoint(quantity, self.arrays.scale_of(name))
            if truth is None:
                judgement.take(name, float(array.max()))
            elif not {own, scale} <= truth.endpoints.keys():
                judgement.refuse(name, f"missing from {against}")
            else:
                known, norm = truth.array(own), size_of(truth.array(scale))
                # The oracle has the loss of the first step only.
                array = array[: len(known)] if quantity == "loss" else array
                permitted = noise.get(name, 0.0) / (norm or 1.0)
                judgement.take(name, _apart(array, known, norm), permitted)
        return judgement.concluded()

    def each_other(self, quantity: str, column: Mapping[str, Trace]) -> list[Judgement]:
        """Compare the backends of a dtype: each array with the one nearest to the others."""
        if len(column) < 2:
            return []
        names = self.arrays.names_of(quantity)
        noise = noise_by_array(quantity, list(column.values()))
        found = {b: self._empty(quantity, t, "each other", len(names)) for b, t in column.items()}
        for name in names:
            tried = {b: found[b].array(trace, quantity, name) for b, trace in column.items()}
            arrays = {backend: array for backend, array in tried.items() if array is not None}
            scale = endpoint(quantity, self.arrays.scale_of(name))
            norms = {b: size_of(column[b].array(scale)) for b in arrays if scale in column[b]}

            def steep(name: str = name) -> float:
                return self._steepness(name, column) if quantity == f"weights.{FIRST}" else 0.0

            permitted = noise.get(name, 0.0) / (middle(norms.values()) or 1.0)
            for backend, apart in _to_the_nearest(arrays, norms).items():
                found[backend].take(name, apart, permitted, steep)
        return [judgement.concluded() for judgement in found.values()]

    def _steepness(self, name: str, column: Mapping[str, Trace]) -> float:
        noise = min(
            LIMIT_GRADIENT_NOISES * float(self.oracle.array("noise")[0]), MOST_GRADIENT_NOISE
        )
        return steepness(name, column.values(), self.arrays, noise)

    def _derivatives(self, trace: Trace) -> Judgement:
        """Compare <gradient, direction> with the oracle's derivatives.

        Relative to what the product of independent gradients and directions would be on average:
        by itself it may be small by chance.
        """
        judgement = self._empty("derivative", trace, "the oracle", DIRECTIONS + 1)
        quantity, weights = f"gradient.{FIRST}", self.arrays.weights
        products, square = np.zeros(DIRECTIONS), 0.0
        for name in self.arrays.names_of(quantity):
            if name in self.arrays.idle:  # as in the oracle
                continue
            gradient = usable(trace, endpoint(quantity, name))
            if isinstance(gradient, str):
                judgement.problem = judgement.problem or f"{name}: {gradient}"
                continue
            wide = gradient.astype(np.float64) * spread(weights[name])
            square += float((wide**2).sum())
            for number in range(DIRECTIONS):
                products[number] += float((wide * direction(name, wide.shape, number)).sum())
        found = {str(n): (float(products[n]), math.sqrt(square)) for n in range(DIRECTIONS)}
        images = usable(trace, "input gradient")
        if isinstance(images, str):
            judgement.problem = judgement.problem or images
        else:
            wide = images.astype(np.float64)
            along = float((wide * direction(IMAGES, wide.shape, 0)).sum())
            found[IMAGES] = along, float(np.linalg.norm(wide))
        for which, (product, scale) in found.items():
            apart = abs(product - float(self.oracle.array(f"derivative {which}")[0]))
            judgement.take(f"direction {which}", apart / (scale or 1.0))
        return judgement.concluded()

    def _frozen(self, trace: Trace) -> Judgement:
        """Compare what is frozen with what was loaded: bit for bit, in every dtype."""
        still = frozen_norms(self.arrays.weights, self.trial.recipe.frozen)
        rest = [n for n in self.arrays.weights if is_statistic(n) and n.rpartition(".")[0] in still]
        frozen = [*self.trial.recipe.frozen, *rest]
        judgement = self._empty("frozen", trace, "as loaded", len(frozen))
        judgement.limit = 0.0
        for name in frozen:
            kind = "statistics" if is_statistic(name) else "weights"
            array = judgement.array(trace, f"{kind}.{self.trial.last}", name)
            loaded = to_dtype(self.arrays.weights[name], trace.run.dtype)
            if array is not None and not np.array_equal(array, loaded):
                apart = _apart(array, loaded, float(np.linalg.norm(loaded)))
                judgement.take(name, apart or math.ulp(0.0))  # however little it is
        judgement.verdict = WRONG if judgement.wrong else IDENTICAL
        return judgement


def _to_the_nearest(
    arrays: Mapping[str, NDArray[Any]], norms: Mapping[str, float]
) -> dict[str, float]:
    """Return each backend's distance to the one in the middle; of that one, to the nearest.

    With three backends, one that is wrong is never in the middle.
    """
    if len(arrays) < 2:
        return {}
    between = {
        pair: _apart(arrays[pair[0]], arrays[pair[1]], max(norms.get(b, 0.0) for b in pair))
        for pair in combinations(arrays, 2)
    }
    between |= {(b, a): distance for (a, b), distance in between.items()}
    others = {a: [b for b in arrays if b != a] for a in arrays}
    middle = min(arrays, key=lambda a: sum(between[a, b] for b in others[a]))
    return {
        a: min(between[a, b] for b in others[a]) if a == middle else between[a, middle]
        for a in arrays
    }


def _apart(array: NDArray[Any], truth: NDArray[Any], norm: float) -> float:
    if array.shape != truth.shape:
        return float("inf")
    difference = float(np.linalg.norm(array.astype(np.float64) - truth.astype(np.float64)))
    return difference / norm if norm else (0.0 if difference == 0 else float("inf"))
