"""How one arrangement of an array becomes another, found by following its elements."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_AXES = 5
PARTS = (2, 3, 4)  # as many gates as recurrent layers have


def expression(before: Array, after: Array, name: str) -> str | None:
    """Return NumPy code that turns one array of distinct numbers into the other.

    Args:
        before: the array that the code has.
        after: what it should give.
        name: of the array, in the code.

    Returns:
        The code; None if it is no simple rearrangement.
    """
    if before.size != after.size:
        return None
    plain = _moved(before, after, name)
    if plain is not None:
        return plain
    for axis, parts in itertools.product(range(before.ndim), PARTS):
        if before.shape[axis] % parts:
            continue
        shape = (*before.shape[:axis], parts, -1, *before.shape[axis + 1 :])
        blocks = before.reshape(shape)
        for order in itertools.islice(itertools.permutations(range(parts)), 1, None):
            turned = np.take(blocks, order, axis).reshape(before.shape)
            index = ", ".join([*[":"] * axis, str(list(order))])
            code = f"{name}.reshape{shape}[{index}].reshape{before.shape}"
            found = _moved(turned, after, code)
            if found is not None:
                return found
    return None


def _moved(before: Array, after: Array, name: str) -> str | None:
    """Return code that exchanges axes or reshapes, or both."""
    if before.shape == after.shape and np.array_equal(before, after):
        return name
    if before.ndim == after.ndim <= MOST_AXES:
        for order in itertools.permutations(range(before.ndim)):
            turned = before.transpose(order)
            if turned.shape == after.shape and np.array_equal(turned, after):
                return f"{name}.T" if before.ndim == 2 else f"{name}.transpose{order}"
    if np.array_equal(before.reshape(-1), after.reshape(-1)):
        return f"{name}.reshape({_joined(after.shape)})"
    places = np.empty(before.size, np.int64)
    places[before.reshape(-1)] = np.arange(before.size)
    loops = _loops(places[after.reshape(-1)])
    if loops is None:
        return None
    sizes = [size for size, _ in sorted(loops, key=lambda loop: -loop[1])]
    order = tuple(sorted(range(len(loops)), key=lambda i: -loops[i][1]))
    order = tuple(int(i) for i in np.argsort(order))
    code = name if tuple(sizes) == before.shape else f"{name}.reshape({_joined(sizes)})"
    if order != tuple(range(len(order))):
        code += f".transpose{order}"
    code += f".reshape({_joined(after.shape)})"
    found = before.reshape(sizes).transpose(order).reshape(after.shape)
    return code if np.array_equal(found, after) else None


def _loops(places: Array) -> list[tuple[int, int]] | None:
    """Return the (size, step) of nested loops that go over these places, outermost first."""
    if places[0] != 0:
        return None
    loops: list[tuple[int, int]] = []
    while places.size > 1:
        step = int(places[1] - places[0])
        breaks = np.flatnonzero(np.diff(places) != step)
        run = int(breaks[0]) + 1 if breaks.size else places.size
        if places.size % run:
            return None
        rows = places.reshape(-1, run)
        if not np.array_equal(
            rows - rows[:, :1], np.broadcast_to(np.arange(run) * step, rows.shape)
        ):
            return None
        loops.insert(0, (run, step))
        places = rows[:, 0]
    inner = 1
    for size, step in sorted(loops, key=lambda loop: loop[1]):
        if step != inner:
            return None
        inner *= size
    return loops


def _joined(sizes: Any) -> str:
    return ", ".join(map(str, sizes))
