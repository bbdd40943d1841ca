"""How far apart training traces may be: what is rounding, and what an array is judged by.

Limits are for float64. They come from what was measured along with the traces that they judge: the
oracle's derivatives with another last digit in each weight, and every backend trained a
second time from such weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.recipe import Recipe
from ..comparison.limits import (
    LIMIT_GRADIENT_NOISES,
    LIMIT_TRAINING_STEP,
    MOST_GRADIENT_NOISE,
    MOST_PERTURBED,
)
from ..traces.trace import Trace
from ..traces.weights import is_idle_bias, is_statistic
from .trial import FIRST, LAST, definition

QUANTITIES = (
    "loss", f"statistics.{FIRST}", f"gradient.{FIRST}", "input gradient", "derivative", "update",
    "frozen", f"gradient.{LAST}", f"weights.{FIRST}", f"statistics.{LAST}", f"weights.{LAST}",
)  # fmt: skip
LATER = tuple(quantity for quantity in QUANTITIES if quantity.endswith(f".{LAST}"))
Weights = Mapping[str, NDArray[Any]]


def limits_by_quantity(
    oracle: Trace, double: Sequence[Trace], weights: Weights, recipe: Recipe
) -> dict[str, float | None]:
    """Return the limit of each quantity in float64; None where it can't be judged.

    `double` are the backends' traces in float64.
    """
    noise = LIMIT_GRADIENT_NOISES * float(oracle.array("noise")[0])
    gradient = max(LIMIT_TRAINING_STEP, min(noise, MOST_GRADIENT_NOISE))
    found: dict[str, float | None] = dict.fromkeys(QUANTITIES, LIMIT_TRAINING_STEP)
    found |= dict.fromkeys((f"gradient.{FIRST}", "input gradient", "derivative"), gradient)
    perturbed = {quantity: from_itself(quantity, double, weights, recipe) for quantity in LATER}
    parted = max(perturbed.values()) > MOST_PERTURBED
    for quantity, apart in perturbed.items():
        found[quantity] = None if parted else max(gradient, LIMIT_GRADIENT_NOISES * apart)
    return found


def from_itself(quantity: str, double: Sequence[Trace], weights: Weights, recipe: Recipe) -> float:
    """Return how far a backend ends from itself with another last digit in each weight.

    This is the smallest value of all backends, so that none can widen the limit for the others,
    and the largest of a backend's arrays, relative to their size.
    """
    found = []
    for trace in double:
        norms = usable(trace, f"perturbed {quantity}")
        if isinstance(norms, str):
            continue
        here = [name for name in trace if name.startswith(f"{quantity} ")]
        apart = dict(zip(here, norms.tolist(), strict=True))
        worst = 0.0
        for name in names_of(quantity, weights, recipe):
            scale = endpoint(quantity, scale_of(name, weights))
            size = size_of(trace.array(scale)) if scale in trace else 0.0
            if size:
                worst = max(worst, apart.get(endpoint(quantity, name), 0.0) / size)
        found.append(worst)
    return min(found, default=0.0)


def steepness(
    name: str, traces: Iterable[Trace], weights: Weights, recipe: Recipe, noise: float
) -> float:
    """Return how far apart an array may be after one step, given how far gradients may be.

    The optimizer's own definition says it, element by element: it is applied to the gradient,
    and to the gradient with noise added and subtracted. Plain SGD gives back lr times the noise.
    Adam's step has the slope lr / eps where the gradient is 0. No backend can widen it for
    the others: the smallest of what their gradients give counts.

    Args:
        name: a trained array.
        traces: those of one dtype.
        weights: as they were loaded.
        recipe: how the network was trained.
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
            stepped = {name: weights[name].astype(np.float64)}
            definition(recipe).step(stepped, {name: shifted})
            after.append(stepped[name])
        apart = np.maximum(np.abs(after[1] - after[0]), np.abs(after[2] - after[0]))
        found.append(float(np.linalg.norm(apart)) / (float(np.linalg.norm(after[0])) or 1.0))
    return min([*found, MOST_GRADIENT_NOISE]) if found else 0.0


def endpoint(quantity: str, name: str) -> str:
    """Return the endpoint with a quantity of an array, or the whole quantity for no name."""
    return f"{quantity} {name}" if name else quantity


def names_of(quantity: str, weights: Weights, recipe: Recipe) -> list[str]:
    """Return the arrays of which a quantity is judged; one without a name if it isn't of arrays."""
    if quantity in ("loss", "input gradient"):
        return [""]
    kind = quantity.partition(".")[0]
    names = [name for name in weights if is_statistic(name) is (kind == "statistics")]
    if kind == "weights" and recipe.optimizer == "Adam":
        return [name for name in names if not is_idle_bias(name, weights)]
    if kind == "update":
        return [name for name in names if name not in recipe.frozen]
    if kind == "gradient":
        # A frozen kernel has no gradient that its bias' rounding could be compared with.
        own = [name for name in names if name not in recipe.frozen]
        return [name for name in own if scale_of(name, weights) not in recipe.frozen]
    return names


def scale_of(name: str, weights: Weights) -> str:
    """Return the array by whose size a difference in `name` is judged: usually itself.

    Batch norm subtracts the mean, and any bias with it: in theory the gradient of a bias before it
    is 0, in practice it is rounding. It is compared with the kernel's.
    Adam divides a gradient by its own size, rounding or not, and makes whole steps of
    it: nobody could agree on such a bias after steps of Adam.
    """
    return f"{name.removesuffix('bias')}weight" if is_idle_bias(name, weights) else name


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
