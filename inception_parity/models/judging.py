"""Compares endpoints of two captured models, and judges what difference is rounding."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ..comparison.comparing import (
    IDENTICAL,
    ROUNDING,
    WRONG,
    Comparison,
    measure,
    value_problem,
)
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS, LIMIT_TENSORS
from ..diagnosis.suspect import SuspectLayer
from ..numerics import UNIT_ROUNDOFF, relative_l2
from ..traces.trace import Endpoint
from .float32_inside import (
    ARITHMETIC,
    Fed,
    Inside,
    Side,
    found_in_arithmetic,
    found_inside,
    may_differ,
    name_of,
)
from .folding import Fold
from .graph import ComparedLayer, squeezed
from .recorder import ModelTrace

MOST_INSIDE = 1e-5  # what float32 inside a layer may differ by at most; ten times what was measured
MOST_AXES = 5  # of arrays that are compared with their axes in any order


class Judge:
    """Compares b's endpoints with a's.

    Args:
        a: the reference.
        b: the trace to be judged.
        floors: a's trace in b's dtype, which shows a's own rounding; None if there is none.
    """

    def __init__(self, a: ModelTrace, b: ModelTrace, floors: ModelTrace | None) -> None:
        self.a, self.b, self.floors = a, b, floors
        self.inside: dict[str, Inside] = {}  # a's layer -> what of it is float32 in a float64 run
        self._folds: dict[tuple[str, str], Fold] = {}  # by a's layer and b's: folded in float32
        self.exact = a.run.dtype == b.run.dtype == "float64"
        self.dtype = max(a.run.dtype, b.run.dtype, key=lambda dtype: UNIT_ROUNDOFF[dtype])

    def limit(self, result: Comparison) -> float:
        """Return the relative L2 up to which a difference is rounding."""
        if self.exact:
            return LIMIT_FLOAT64
        return LIMIT_TENSORS[self.dtype] if result.floor is None else LIMIT_FLOORS * result.floor

    def layers(self, one: ComparedLayer, other: ComparedLayer) -> Comparison:
        """Compare a layer of b with one of a."""
        result = self._compared(one.name, one.describe(), True, one.value, other.value)
        if self.exact and result.fails and result.rel_l2 is not None:
            found = self._float32_inside(one, other, result.rel_l2)
            if found is not None:
                self.inside[one.name] = found
                result.verdict = ROUNDING
        return result

    def folds(self, one: ComparedLayer, other: ComparedLayer, before: ComparedLayer) -> bool:
        """Return whether of two layers one is a batch norm, and the other both it and `before`."""
        if one.kind == "norm":
            fold = Fold(self.a, before, one, self.b, other)
        else:
            fold = Fold(self.b, before, other, self.a, one)
        if self.exact and fold.holds():
            self._folds[one.name, other.name] = fold
            return True
        return not self.layers(one, other).fails

    def _float32_inside(
        self, one: ComparedLayer, other: ComparedLayer, rel_l2: float
    ) -> Inside | None:
        """Return what of a matched layer is float32, if that is all by which the two differ.

        In traces of which one went on with the other's values, the other one's inputs are what both
        layers were given.
        """
        if rel_l2 > MOST_INSIDE or not self.may_be_inside(one, other):
            return None
        fold = self._folds.get((one.name, other.name))
        if fold is not None:
            where = "second" if fold.within is self.b else "first"
            inside = Inside(one.name, other.name, where, "the folded weights", rel_l2)
            return inside if fold.explains() else None
        sides = [(self.a, one), (self.b, other)]
        for fed_by, node in reversed(sides):
            fed = self._inputs(fed_by, node)
            if not fed:
                continue
            mine, theirs = (self._side(trace, each, fed) for trace, each in sides)
            found = found_inside(mine, theirs)
            if found is None:
                found = found_in_arithmetic(mine, theirs, self._dtypes(one, other))
            if found is not None:
                return Inside(one.name, other.name, *found, rel_l2)
        return None

    def may_be_inside(self, one: ComparedLayer, other: ComparedLayer) -> bool:
        """Return whether one of the two frameworks has float32 inside such an operation."""
        if (one.name, other.name) in self._folds:
            return True
        dtypes = self._dtypes(one, other)
        if dtypes[0] != dtypes[1] and other.kind in ARITHMETIC:
            return True
        return may_differ(
            (self.a.run.backend, name_of(one.kind, one.settings)),
            (self.b.run.backend, name_of(other.kind, other.settings)),
        )

    def _dtypes(self, one: ComparedLayer, other: ComparedLayer) -> tuple[str, str]:
        return self.a.endpoints[one.value].dtype, self.b.endpoints[other.value].dtype

    def _inputs(self, trace: ModelTrace, node: ComparedLayer) -> Fed:
        sources = node.sources[:1]
        return tuple(np.asarray(trace.given_on(name), dtype=np.float64) for name in sources)

    def _wide(self, trace: ModelTrace, name: str) -> NDArray[np.float64]:
        return np.asarray(trace.array(name), dtype=np.float64)

    def _side(self, trace: ModelTrace, node: ComparedLayer, fed: Fed) -> Side:
        weights = {role: trace.weight(*where).astype(np.float64)
                   for role, where in node.weights.items()}  # fmt: skip
        seen = self._wide(trace, node.value)
        layer = SuspectLayer(node.name, node.kind, fed, seen, None, node.settings, weights)
        return Side(trace.run.backend, name_of(node.kind, node.settings), layer, seen)

    def rearranged(self, one: ComparedLayer, other: ComparedLayer) -> str:
        """Return how b's layer has the same values as a's in another shape; "" if it hasn't."""
        mine, theirs = (np.asarray(trace.array(node.value))
                        for trace, node in ((self.a, one), (self.b, other)))  # fmt: skip
        if mine.size != theirs.size or mine.dtype.kind != "f" or theirs.dtype.kind != "f":
            return ""
        limit = self.limit(Comparison(one.name, "", True, WRONG, floor=self._floor(one.value)))
        mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
        sides = [side for side in theirs.shape if side != 1]
        shape = tuple(side for side in mine.shape if side != 1)
        if len(sides) != len(shape) and relative_l2(theirs.ravel(), mine.ravel()) <= limit:
            return "in another shape"
        if sorted(sides) != sorted(shape) or len(sides) > MOST_AXES:
            return ""
        mine, theirs = mine.reshape(shape), theirs.reshape(sides)
        for order in itertools.permutations(range(len(sides))):
            turned = theirs.transpose(order)
            moved = order != tuple(sorted(order))
            if moved and turned.shape == shape and relative_l2(turned, mine) <= limit:
                return f"with its axes in the order ({', '.join(map(str, order))})"
        return ""

    def outputs(self) -> list[Comparison]:
        """Compare what the models return, by position."""
        found = [
            self._compared(mine, "output", False, mine, theirs)
            for mine, theirs in zip(self.a.outputs, self.b.outputs, strict=False)
        ]
        for names, others, problem in (
            (self.a.outputs, self.b.outputs, "missing: the second model doesn't return it"),
            (self.b.outputs, self.a.outputs, "surplus: the first model doesn't return it"),
        ):
            surplus = names[len(others) :]
            found += [Comparison(n, "output", False, WRONG, problem) for n in surplus]
        return found

    def _compared(self, name: str, kind: str, leaf: bool, of_a: str, of_b: str) -> Comparison:
        result = Comparison(name, kind, leaf, WRONG, floor=self._floor(of_a))
        mine, theirs = self.a.endpoints[of_a], self.b.endpoints[of_b]
        shape = squeezed(mine.shape)
        if squeezed(theirs.shape) != shape:
            result.problem = f"shape {_shape(theirs)}, but should be {_shape(mine)}"
            return result
        reference = np.asarray(self.a.array(of_a)).reshape(shape)
        array = np.asarray(self.b.array(of_b)).reshape(shape)
        if array.dtype.kind != "f" or reference.dtype.kind != "f":
            same = np.array_equal(array, reference)
            result.verdict, result.problem = (IDENTICAL, "") if same else (WRONG, "differs")
            return result
        result.problem = value_problem(array, reference)
        if result.problem:
            return result
        measure(result, array, reference.astype(np.float64), self.dtype)
        if result.verdict != IDENTICAL and result.rel_l2 is not None:
            if result.floor is not None:
                result.floors = result.rel_l2 / result.floor
            result.verdict = ROUNDING if result.rel_l2 <= self.limit(result) else WRONG
        return result

    def _floor(self, name: str) -> float | None:
        """Return a's own rounding at an endpoint, at least one roundoff; None if unknown."""
        if self.exact or self.floors is None or name not in self.floors.endpoints:
            return None
        truth = self.a.array(name).astype(np.float64)
        found = self.floors.array(name).astype(np.float64)
        if found.shape != truth.shape:
            return float("inf")
        return max(UNIT_ROUNDOFF[self.dtype], relative_l2(found, truth) if truth.any() else 0.0)


def _shape(endpoint: Endpoint) -> str:
    return "x".join(map(str, squeezed(endpoint.shape)))
