"""How far apart training traces may be: what is rounding, and what an array is judged by.

Limits are for float64. They come from what was measured along with the traces that they judge: the
oracle's loss, statistics and derivatives with another last digit in each weight, and every
backend trained a second time from such weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.recipe import Recipe
from ..comparison.limits import (
    LIMIT_GRADIENT_NOISES,
    LIMIT_TRAINING_STEP,
    MOST_GRADIENT_NOISE,
    MOST_PERTURBED,
    MOST_PERTURBED_FIRST,
)
from ..traces.trace import Trace
from ..traces.weights import is_statistic
from .trial import FIRST, LAST, definition, endpoint

QUANTITIES = (
    "loss", f"statistics.{FIRST}", f"gradient.{FIRST}", "input gradient", "derivative", "update",
    "frozen", f"gradient.{LAST}", f"weights.{FIRST}", f"statistics.{LAST}", f"weights.{LAST}",
)  # fmt: skip
LATER = tuple(quantity for quantity in QUANTITIES if quantity.endswith(f".{LAST}"))
# Of the first step: what is measured with another last digit in each weight, and whether by the
# oracle; if not, by the backends.
PERTURBED = {
    "loss": True, f"statistics.{FIRST}": True, f"gradient.{FIRST}": False,
    "input gradient": False, f"weights.{FIRST}": False,
}  # fmt: skip
Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Arrays:
    """The arrays of a trained network, and which of them a quantity is judged of.

    Args:
        weights: all, as they were loaded.
        recipe: how the network was trained.
        idle: biases that batch norm subtracts again.
    """

    weights: Weights
    recipe: Recipe
    idle: Collection[str] = ()

    def names_of(self, quantity: str) -> list[str]:
        """Return the arrays that a quantity is judged of; one without a name if it isn't of any."""
        if quantity in ("loss", "input gradient"):
            return [""]
        kind, recipe = quantity.partition(".")[0], self.recipe
        names = [name for name in self.weights if is_statistic(name) is (kind == "statistics")]
        if kind == "weights" and recipe.optimizer == "Adam":
            return [name for name in names if name not in self.idle]
        if kind == "update":
            return [name for name in names if name not in recipe.frozen]
        if kind == "gradient":
            # A frozen kernel has no gradient that its bias' rounding could be compared with.
            own = [name for name in names if name not in recipe.frozen]
            return [name for name in own if self.scale_of(name) not in recipe.frozen]
        return names

    def scale_of(self, name: str) -> str:
        """Return the array by whose size a difference in `name` is judged: usually itself.

        Batch norm subtracts the mean, and any bias with it: in theory the gradient of a bias before
        it is 0, in practice it is rounding. It is compared with the kernel's.
        Adam divides a gradient by its own size, rounding or not, and makes whole steps of
        it: nobody could agree on such a bias after steps of Adam.
        """
        return f"{name.removesuffix('bias')}weight" if name in self.idle else name


def limits_by_quantity(
    oracle: Trace, double: Sequence[Trace], arrays: Arrays
) -> dict[str, float | None]:
    """Return the limit of each quantity in float64; None where it can't be judged.

    `double` are the backends' traces in float64. `noise_by_array` may permit more.
    """
    moved = float(oracle.array("noise")[0])
    gradient = max(LIMIT_TRAINING_STEP, min(LIMIT_GRADIENT_NOISES * moved, MOST_GRADIENT_NOISE))
    found: dict[str, float | None] = dict.fromkeys(QUANTITIES, LIMIT_TRAINING_STEP)
    found |= dict.fromkeys((f"gradient.{FIRST}", "input gradient"), gradient)
    found["derivative"] = max(LIMIT_TRAINING_STEP, LIMIT_GRADIENT_NOISES * moved)
    first = {"derivative": moved} | {
        quantity: from_itself(quantity, [oracle] if by_oracle else double, arrays)
        for quantity, by_oracle in PERTURBED.items()
    }
    found |= {quantity: None for quantity, n in first.items() if n > MOST_PERTURBED_FIRST}
    perturbed = {quantity: from_itself(quantity, double, arrays) for quantity in LATER}
    parted = max(perturbed.values()) > MOST_PERTURBED
    for quantity, apart in perturbed.items():
        found[quantity] = None if parted else max(gradient, LIMIT_GRADIENT_NOISES * apart)
    return found


def from_itself(quantity: str, traces: Sequence[Trace], arrays: Arrays) -> float:
    """Return how far a backend ends from itself with another last digit in each weight.

    This is the smallest value of all traces, so that no backend can widen the limit for the others,
    and the largest of a backend's arrays, relative to their size.
    """
    found = []
    for trace in traces:
        apart = _perturbed(quantity, trace)
        worst = 0.0
        for name in arrays.names_of(quantity) if apart else ():
            scale = endpoint(quantity, arrays.scale_of(name))
            size = size_of(trace.array(scale)) if scale in trace else 0.0
            if size:
                worst = max(worst, apart.get(name, 0.0) / size)
        found += [worst] if apart else []
    return min(found, default=0.0)


def _perturbed(quantity: str, trace: Trace) -> dict[str, float]:
    """Return by array how far a trace is from itself; nothing if it doesn't say that of each."""
    norms = usable(trace, f"perturbed {quantity}")
    if isinstance(norms, str):
        return {}
    here = [name for name in trace if name == quantity or name.startswith(f"{quantity} ")]
    if len(here) != len(norms):
        return {}
    return {n.removeprefix(quantity).strip(): d for n, d in zip(here, norms.tolist(), strict=True)}


def noise_by_array(quantity: str, traces: Sequence[Trace]) -> dict[str, float]:
    """Return how far each array of the first step may be apart for rounding alone, in L2.

    That is so many times what another last digit in each weight does to it. Of several traces the
    one in the middle counts, so that no backend can widen it for the others, nor narrow it.
    """
    found: dict[str, list[float]] = {}
    for trace in traces if quantity in PERTURBED else ():
        for name, apart in _perturbed(quantity, trace).items():
            found.setdefault(name, []).append(apart)
    return {name: LIMIT_GRADIENT_NOISES * middle(apart) for name, apart in found.items()}


def middle(values: Iterable[float]) -> float:
    """Return the median; of an even number of values, the lower of both in the middle."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2] if ordered else 0.0


def steepness(name: str, traces: Iterable[Trace], arrays: Arrays, noise: float) -> float:
    """Return how far apart an array may be after one step, given how far gradients may be.

    The optimizer's own definition says it, element by element: it is applied to the gradient,
    and to the gradient with noise added and subtracted. Plain SGD gives back lr times the noise.
    Adam's step has the slope lr / eps where the gradient is 0. No backend can widen it for
    the others: the smallest of what their gradients give counts.

    Args:
        name: a trained array.
        traces: those of one dtype.
        arrays: of the network.
        noise: of the gradient, relative to its size.

    Returns:
        The relative L2 difference, MOST_GRADIENT_NOISE at most; 0 if no gradient can be read.
    """
    found = []
    for trace in traces:
        gradient = usable(trace, endpoint(f"gradient.{FIRST}", name))
        if isinstance(gradient, str):
            continue
        wide = gradient.astype(np.float64)
        each = noise * float(np.linalg.norm(wide)) / np.sqrt(wide.size)
        after = []
        for shifted in (wide, wide + each, wide - each):
            stepped = {name: arrays.weights[name].astype(np.float64)}
            definition(arrays.recipe).step(stepped, {name: shifted})
            after.append(stepped[name])
        apart = np.maximum(np.abs(after[1] - after[0]), np.abs(after[2] - after[0]))
        found.append(float(np.linalg.norm(apart)) / (float(np.linalg.norm(after[0])) or 1.0))
    return min([*found, MOST_GRADIENT_NOISE]) if found else 0.0


def usable(trace: Trace, name: str) -> NDArray[Any] | str:
    """Return the array of an endpoint, or why it can't be used."""
    if name not in trace.endpoints:
        return "missing"
    array = trace.array(name)
    if not np.isfinite(array).all():
        return f"{int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite"
    return array


def size_of(array: NDArray[Any]) -> float:
    """Return the L2 norm that a difference is judged by."""
    return float(np.linalg.norm(np.asarray(array, dtype=np.float64)))
