"""How far training traces may be apart: what is rounding, and what an array is judged by.

Limits are for float64. They come from what was measured beside the traces that they judge: the
oracle's derivatives with another last digit in each weight, and every backend trained a
second time from such weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..traces.trace import Trace
from .task import Recipe, definition

LIMIT = 1e-10  # relative, float64: one step
# A gradient may differ by so many times what a last digit in each weight does to the oracle's
# derivatives, if that is more than LIMIT: batch norm over few values that are nearly
# equal loses digits, whoever computes it. GoogLeNet's clean runs stay below 4 times.
NOISES = 64.0
MOST_NOISE = 1e-8
# After more steps the limit is NOISES times how far a backend comes from itself when it begins with
# another last digit in each weight; clean runs stay below 7 times. But only while that is little:
# from 7e-7 on, gradients were up to 5e-1 apart in clean runs, since a ReLU or a max pool had chosen
# otherwise in one of them. Then rounding alone has parted them, and nothing can be judged.
MOST_SHAKEN = 1e-8

QUANTITIES = (
    "loss", "statistics.1", "gradient.1", "input gradient", "derivative", "update", "frozen",
    "gradient.K", "weights.1", "statistics.K", "weights.K",
)  # fmt: skip
Weights = Mapping[str, NDArray[Any]]


def limits(
    oracle: Trace, double: Sequence[Trace], weights: Weights, recipe: Recipe
) -> dict[str, float | None]:
    """Return the limit of each quantity in float64; None where it can't be judged.

    Args:
        oracle: the oracle's trace.
        double: the backends' in float64.
        weights: as they were loaded.
        recipe: how was trained.
    """
    noise = NOISES * float(oracle.array("noise")[0])
    gradient = max(LIMIT, min(noise, MOST_NOISE))
    found: dict[str, float | None] = dict.fromkeys(QUANTITIES, LIMIT)
    found |= dict.fromkeys(("gradient.1", "input gradient", "derivative"), gradient)
    later = [quantity for quantity in QUANTITIES if quantity.endswith(".K")]
    shaken = {quantity: from_itself(quantity, double, weights, recipe) for quantity in later}
    parted = max(shaken.values()) > MOST_SHAKEN
    for quantity, apart in shaken.items():
        found[quantity] = None if parted else max(gradient, NOISES * apart)
    return found


def from_itself(quantity: str, double: Sequence[Trace], weights: Weights, recipe: Recipe) -> float:
    """Return how far another last digit in each weight leads a backend away from itself.

    Of the backends the least, so that none can widen the limit for the others; of its arrays
    the worst, relative to their size.
    """
    found = []
    for trace in double:
        norms = usable(trace, f"shaken {quantity}")
        if isinstance(norms, str):
            continue
        here = [name for name in trace.endpoints if name.startswith(f"{quantity} ")]
        apart = dict(zip(here, norms.tolist(), strict=True))
        worst = 0.0
        for endpoint in endpoints_of(weights, quantity, recipe):
            scale = scale_endpoint(quantity, endpoint, weights)
            size = size_of(trace.array(scale)) if scale in trace else 0.0
            if size:
                worst = max(worst, apart.get(endpoint, 0.0) / size)
        found.append(worst)
    return min(found, default=0.0)


def steepness(
    name: str, column: Mapping[str, Trace], weights: Weights, recipe: Recipe, noise: float
) -> float:
    """Return how far an array may be apart after one step, given how far gradients may.

    The optimiser's own definition says it, element by element: it is applied to the gradient,
    and to the gradient with noise added and taken away. Plain SGD gives back lr times the noise.
    Adam's step has the slope lr / eps where the gradient is 0. No backend can widen it for
    the others: the least counts of what their gradients give.

    Args:
        name: a trained array.
        column: the traces of one dtype, by backend.
        weights: as they were loaded.
        recipe: how was trained.
        noise: of gradients, relative to the array's.

    Returns:
        The relative L2 difference, MOST_NOISE at most; 0 where no gradient can be read.
    """
    found = []
    for trace in column.values():
        gradient = usable(trace, f"gradient.1 {name}")
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
    return min([*found, MOST_NOISE]) if found else 0.0


def endpoints_of(weights: Weights, quantity: str, recipe: Recipe | None = None) -> list[str]:
    """Return the endpoints that a quantity consists of."""
    statistics = [n for n in weights if n.endswith((".running_mean", ".running_var"))]
    trained = [n for n in weights if n not in set(statistics)]
    if quantity.startswith("weights") and recipe is not None and recipe.optimizer == "Adam":
        trained = [n for n in trained if scale_of(n, weights) == n]
    if quantity in ("loss", "input gradient"):
        return [quantity]
    if quantity.startswith("statistics"):
        return [f"{quantity} {n}" for n in statistics]
    if quantity.startswith(("gradient", "update")) and recipe is not None:
        trained = [n for n in trained if n not in recipe.frozen]
    if quantity.startswith("gradient") and recipe is not None:
        # A frozen kernel has no gradient that its bias' rounding could be held against.
        trained = [n for n in trained if scale_of(n, weights) not in recipe.frozen]
    return [f"{quantity} {n}" for n in trained]


def scale_of(name: str, weights: Weights) -> str:
    """Return the array by whose size a difference in `name` is judged: itself, mostly.

    Batch norm takes the mean away, and with it a bias before it: the gradient of
    that is 0 in truth, and rounding in fact. The kernel's is what it can be held against.
    Adam divides a gradient by its own size, rounding or not, and makes whole steps of
    it: such a bias after steps of Adam is nothing that anybody could agree on.
    """
    block, _, last = name.rpartition(".conv.")
    return f"{block}.conv.weight" if last == "bias" and f"{block}.norm.bias" in weights else name


def scale_endpoint(quantity: str, endpoint: str, weights: Weights) -> str:
    """Return the endpoint by whose size a difference in `endpoint` is judged; see `scale_of`."""
    name = endpoint.removeprefix(f"{quantity} ")
    return endpoint if name == endpoint else f"{quantity} {scale_of(name, weights)}"


def usable(trace: Trace, endpoint: str) -> NDArray[Any] | str:
    """Return an array, or why it can't be used."""
    if endpoint not in trace.endpoints:
        return "missing"
    array = trace.array(endpoint)
    if not np.isfinite(array).all():
        return f"{int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite"
    return array


def size_of(array: NDArray[Any]) -> float:
    """Return the L2 norm that a difference is judged by."""
    return float(np.linalg.norm(np.asarray(array, dtype=np.float64)))
