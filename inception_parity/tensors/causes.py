"""Simple reasons for which one array isn't another: one holds if undoing it undoes the error."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics import relative_l2, to_dtype

Array = NDArray[Any]
MOST_AXES = 5  # of an array whose axes are exchanged in every way
MOST_ORDERS = 4096  # channels along an axis, of which the order is looked for
GAIN = 1e-2  # what is left of the error where a cause holds


@dataclass(frozen=True)
class TensorCause:
    """Why the second array isn't the first.

    Args:
        cause: a short name of it: `transposed`, `scaled`, …
        text: what it is.
        before: the relative L2 without it, None where shapes differ.
        after: the relative L2 when it is undone.
    """

    cause: str
    text: str
    before: float | None
    after: float


def find_cause(
    a: Array, b: Array, limit: float, others: Mapping[str, Array] | None = None
) -> TensorCause | None:
    """Return the simplest reason that makes b equal to a, if one does.

    Args:
        a: the array that b should be.
        b: the array that is judged.
        limit: the relative L2 up to which a difference is rounding.
        others: other arrays of the first, one of which b may be instead.
    """
    wide, found = a.astype(np.float64), b.astype(np.float64)
    before = relative_l2(found, wide) if a.shape == b.shape else None
    enough = limit if before is None else min(limit, GAIN * before)
    if not np.isfinite(wide).all() or not np.isfinite(found).all():
        return None
    for cause, text, undone in _candidates(wide, found):
        after = relative_l2(undone, wide) if undone.shape == wide.shape else np.inf
        if after <= enough:
            return TensorCause(cause, text, before, after)
    for name, other in (others or {}).items():
        if other.shape == b.shape:
            after = relative_l2(found, other)
            if after <= enough:
                return TensorCause("another", f"it holds the first's {name}", before, after)
    return None


def _candidates(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """Yield a reason, what it is, and the second array without it; the simplest first."""
    if a.size == b.size:
        yield from _rounded(a, b)
        yield from _arranged(a, b)
    if a.shape != b.shape:
        return
    yield from _flipped(a, b)
    yield from _reordered(a, b)
    yield from _moved(a, b)
    yield from _scaled(a, b)
    yield from _activated(a, b)


def _rounded(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """Only another dtype: what the first rounds to is the second, bit for bit."""
    for dtype in ("float32", "float16", "bfloat16"):
        with np.errstate(over="ignore"):
            if a.shape == b.shape and np.array_equal(to_dtype(a, dtype), b):
                yield "dtype", f"it is the first rounded to {dtype}", a
    if a.shape == b.shape and np.array_equal(np.trunc(a), b) and (a != b).any():
        yield "dtype", "it is the first cut to integers", a


def _arranged(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """The same values, with the axes in another order, or in another shape."""
    if a.shape != b.shape:
        text = f"it has the first's values in order, in the shape {b.shape} instead of {a.shape}"
        yield "reshaped", text, b.reshape(a.shape)
    for array, order in ((b, o) for o in _orders(b)):
        moved = array.transpose(order)
        if moved.shape == a.shape:
            text = f"the axes are in another order: its transpose{order} is right"
            yield "transposed", text, moved
        else:
            text = f"its transpose{order} reshaped to {a.shape} is right"
            yield "transposed", text, moved.reshape(a.shape)
    for order in _orders(a):  # the second was transposed, and then reshaped
        moved = a.transpose(order)
        back = b.reshape(moved.shape).transpose(np.argsort(order))
        text = f"it is the first's transpose{order} reshaped to {b.shape}"
        yield "transposed", text, back
    if a.shape == b.shape:
        for order in _orders(a):  # a reshape where a transposition was meant
            wrong = b.reshape(tuple(a.shape[i] for i in order))
            text = f"it was reshaped where a transpose{order} is meant"
            yield "reshaped", text, wrong.transpose(np.argsort(order))


def _orders(array: Array) -> Iterator[tuple[int, ...]]:
    if 1 < array.ndim <= MOST_AXES:
        yield from itertools.islice(itertools.permutations(range(array.ndim)), 1, None)


def _flipped(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    axes = [axis for axis in range(a.ndim) if a.shape[axis] > 1]
    for count in (1, 2):
        for chosen in itertools.combinations(axes, count):
            word = f"axis {chosen[0]}" if count == 1 else f"axes {chosen[0]} and {chosen[1]}"
            yield "flipped", f"{word}: in reverse order", np.flip(b, chosen)


def _reordered(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """Channels along one axis in another order."""
    for axis in range(a.ndim):
        size = a.shape[axis]
        if not 1 < size <= MOST_ORDERS:
            continue
        mine, theirs = (np.moveaxis(x, axis, 0).reshape(size, -1) for x in (a, b))
        order = _order(mine, theirs)
        if order is not None:
            text = f"axis {axis}: the {size} {_named(order)}"
            yield "permuted", text, np.take(b, order, axis)


def _order(mine: Array, theirs: Array) -> list[int] | None:
    """Return which row of the second is each of the first's, if every row is one."""
    # Rows are told apart by a projection that no two of them are likely to share.
    weights = np.random.default_rng(0).standard_normal(mine.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = mine @ weights, theirs @ weights
    ranks = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    order = [int(i) for i in np.argsort(second, kind="stable")[ranks]]
    return None if order == sorted(order) else order


def _named(order: list[int]) -> str:
    """Return a permutation in words: parts exchanged, groups interleaved, else the first few."""
    size = len(order)
    for parts in range(2, min(size, 16) + 1):
        if size % parts == 0:
            blocks = np.arange(size).reshape(parts, -1)
            if blocks.T.reshape(-1).tolist() == order and blocks.shape[1] > 1:
                width = blocks.shape[1]
                return (
                    f"channels are interleaved: c * {parts} + i of the first is "
                    f"i * {width} + c of it"
                )
            heads = order[:: size // parts]
            own = [blocks[head // blocks.shape[1]] for head in heads]
            if parts < size and np.concatenate(own).tolist() == order:
                places = [head // blocks.shape[1] for head in heads]
                return f"channels are in {parts} parts, in the order {places}"
    few = ", ".join(map(str, order[:8])) + (", …" if size > 8 else "")
    return f"channels are in another order: those of the first are its {few}"


def _moved(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """Values one or two places further along an axis."""
    for axis in range(a.ndim):
        for places in (1, -1, 2, -2):
            if a.shape[axis] > 2 * abs(places):
                text = f"axis {axis}: values are {abs(places)} places too {_way(places)}"
                yield "moved", text.replace("1 places", "1 place"), np.roll(b, -places, axis)


def _way(places: int) -> str:
    return "far on" if places > 0 else "early"


def _scaled(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """A factor, an offset, both; or one for each channel."""
    norm = float(np.vdot(b, b))
    if not norm:
        return
    factor = float(np.vdot(b, a)) / norm
    if factor:
        text = "the sign is reversed" if abs(factor + 1) < 1e-6 else (
            f"it is {_number(1 / factor)} times the first"
        )  # fmt: skip
        yield "scaled", text, b * factor
    offset = float(np.mean(b - a))
    yield "offset", f"it is the first plus {_number(offset)}", b - offset
    spread = b - b.mean()
    if float(np.vdot(spread, spread)):
        slope = float(np.vdot(spread, a - a.mean()) / np.vdot(spread, spread))
        if slope:
            start = float(b.mean() - a.mean() / slope)
            text = f"it is {_number(1 / slope)} times the first plus {_number(start)}"
            yield "scaled", text, (b - start) * slope
    for axis in range(a.ndim):
        rest = tuple(i for i in range(a.ndim) if i != axis)
        if a.shape[axis] < 2 or a.size < 4 * a.shape[axis]:
            continue
        means = a.mean(rest, keepdims=True), b.mean(rest, keepdims=True)
        around = b - means[1]
        below = (around * around).sum(rest, keepdims=True)
        slopes = (around * (a - means[0])).sum(rest, keepdims=True) / np.where(below, below, 1)
        text = f"axis {axis}: each channel has another scale or offset"
        yield "scaled", text, around * slopes + means[0]


def _activated(a: Array, b: Array) -> Iterator[tuple[str, str, Array]]:
    """An activation that only one of the two has behind it."""
    with np.errstate(over="ignore"):
        known: dict[str, Callable[[Array], Array]] = {
            "ReLU": lambda x: np.maximum(x, 0), "tanh": np.tanh, "exp": np.exp, "abs": np.abs,
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "SiLU": lambda x: x / (1 + np.exp(-x)),
            "softmax": lambda x: np.exp(x - x.max(-1, keepdims=True)) / np.exp(
                x - x.max(-1, keepdims=True)).sum(-1, keepdims=True),
        }  # fmt: skip
        for name, function in known.items():
            yield "activation", f"{name} is missing behind it", function(b)
            # Where the second is the function of the first, the first is what it should be.
            if np.allclose(function(a), b, rtol=1e-6, atol=1e-12):
                yield "activation", f"{name} is behind it, which the first has not", a


def _number(value: float) -> str:
    return f"{value:.6g}"
