"""The arrays of two steps that belong together, all in the shared layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..match import Match
from ..recorder import Slot
from .running import Ran, in_shared
from .stepper import Stepped

Array = NDArray[Any]

STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Side:
    """One model's array.

    Args:
        ran: the step.
        slot: the array's.
        name: the layer's name, and the role.
    """

    ran: Ran
    slot: Slot
    name: str

    def of(self, arrays: dict[Any, Array]) -> Array | None:
        """Return it from arrays by their keys."""
        return in_shared(self.slot, arrays)

    @property
    def held(self) -> bool:
        """Whether each of its values is one of the model's."""
        return self.of(self.ran.step.before) is not None

    def moved(self) -> Array:
        """Return what the step made of it, less what it was."""
        before, after = self.of(self.ran.step.before), self.of(self.ran.step.after)
        assert before is not None
        assert after is not None
        return after - before

    def before(self) -> Array:
        """Return what it was before the step."""
        found = self.of(self.ran.step.before)
        assert found is not None
        return found

    def after(self) -> Array:
        """Return what it is after the step."""
        found = self.of(self.ran.step.after)
        assert found is not None
        return found

    def gradient(self, step: Stepped | None = None) -> Array | None:
        """Return its gradient; None if it has none."""
        return self.of((step or self.ran.step).gradients)

    @property
    def frozen(self) -> bool:
        """Whether it isn't to be trained."""
        return self.slot.key in self.ran.step.frozen

    def reaction(self) -> float:
        """Return how far rounding moves its gradient, relative to the gradient's size."""
        mine, nudged = self.gradient(), self.gradient(self.ran.nudged)
        if mine is None or nudged is None:
            return 0.0
        size = float(np.linalg.norm(mine))
        apart = float(np.linalg.norm(nudged - mine))
        return apart / size if size else float(apart > 0)


@dataclass(frozen=True)
class Both:
    """An array of the first model and the one of the second that it corresponds to."""

    role: str
    layer: str
    a: Side
    b: Side
    momentum: float | None = None  # of a running statistic: the first model's share of the new
    count: int = 0  # values of a batch for each channel


def matched_arrays(match: Match, a: Ran, b: Ran) -> tuple[list[Both], list[str]]:
    """Return the arrays of matched layers, in the first's order, and those that can't be compared.

    A bias that stands for the sum of two has the gradient of each.
    """
    found: list[Both] = []
    left: list[str] = []
    seen = set()
    for one, other in match.layers():
        if match.holds_fold(one, other):
            left.append(f"{one.name}: a batch norm is folded into one of the two")
            continue
        for role, place in other.weights.items():
            origin = one.weights.get(role) or (
                one.weights.get("bias_ih") if role == "bias_hh" and one.kind != "gru" else None
            )
            if origin is None:
                continue  # of no use to the first: a bias of 0
            mine = Side(a, a.trace.slots[origin], f"{one.name}.{role}")
            theirs = Side(b, b.trace.slots[place], f"{other.name}.{role}")
            key = mine.slot.key, str(mine.slot.place), theirs.slot.key, str(theirs.slot.place)
            if key in seen:
                continue
            seen.add(key)
            shapes = mine.slot.shared.shape, theirs.slot.shared.shape
            if shapes[0] != shapes[1] or not (mine.held and theirs.held):
                left.append(f"{mine.name}: one value stands for several, or shapes differ")
                continue
            count = 0
            if role in STATISTICS:
                size = int(np.prod(a.trace.endpoints[one.value].shape))
                count = size // max(1, shapes[0][0])
            momentum = one.settings.get("momentum") if one.kind == "norm" else None
            found.append(Both(role, one.name, mine, theirs, momentum, count))
    return found, left + list(_without_counterpart(match, a, b))


def _without_counterpart(match: Match, a: Ran, b: Ran) -> Iterator[str]:
    for names, graph, ran, whose in (
        (match.only_a, match.a, a, "first"), (match.only_b, match.b, b, "second"),
    ):  # fmt: skip
        for name in names:
            for role, place in graph.nodes[name].weights.items():
                slot = ran.trace.slots.get(place)
                if slot is not None and slot.key not in ran.step.frozen:
                    yield f"{name}.{role}: only the {whose} has such a layer"
