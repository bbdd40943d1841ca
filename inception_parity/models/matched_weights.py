"""Weights of matched layers: whether and how they differ, and copying them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics import UNIT_ROUNDOFF
from . import recurrent
from .graph import ComparedLayer, ModelGraph, squeezed
from .match import Match

Array = NDArray[Any]

ROUNDED = 1e-6  # relative L2; a conversion through float32 stays below
# What a layer without such an array computes with.
NEUTRAL = {
    "bias": 0.0, "weight": 1.0, "running_mean": 0.0, "running_var": 1.0, "bias_ih": 0.0,
    "bias_hh": 0.0,
}  # fmt: skip
NORMS = ("norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


@dataclass(frozen=True)
class WeightDifference:
    """An array that differs between two matched layers.

    Args:
        a: a's layer.
        b: b's.
        role: weight, bias, running_mean, …
        text: how they differ.
        rel_l2: by how much, where the shapes are the same.
        copyable: whether a's values can be given to b.
    """

    a: str
    b: str
    role: str
    text: str
    rel_l2: float | None = None
    copyable: bool = True


@dataclass
class Copied:
    """Which of a's weights were given to b for a comparison.

    Args:
        arrays: how many arrays.
        left: those that couldn't be, and why.
    """

    arrays: int
    left: list[str] = field(default_factory=list)


def weight_differences(match: Match) -> list[WeightDifference]:
    """Return every array that differs between matched layers, in a's order."""
    found = []
    dtypes = (match.a.trace.run.dtype, match.b.trace.run.dtype)
    allowed = max(ROUNDED, *(2 * UNIT_ROUNDOFF[d] for d in dtypes))  # in which they are held
    for one, other, role, mine, theirs in _compared(match):
        if match.holds_fold(one, other):
            continue  # a folded norm's weights are in the convolution's
        problem = _difference(role, mine, theirs, one.kind, allowed)
        if problem is not None:
            found.append(WeightDifference(one.name, other.name, role, *problem))
    return found


def count_compared(match: Match) -> int:
    """Return how many arrays both sides have."""
    arrays = _compared(match)
    return sum(mine is not None and theirs is not None for _, _, _, mine, theirs in arrays)


def to_copy(match: Match) -> tuple[dict[tuple[str, str], Array], Copied]:
    """Return a's weights as b's layers take them, and what can't be copied.

    An array that b has and a lacks gets the value that makes no difference: a bias 0, a scale 1.
    """
    values: dict[tuple[str, str], Array] = {}
    left = []
    for one, other, role, mine, theirs in _arrays(match):
        if theirs is None:
            if mine is not None and not _neutral(role, mine, one.kind):
                left.append(f"{one.name}.{role}: {other.name} has none")
            continue
        if mine is None and (role != "weight" or one.kind in NORMS) and role in NEUTRAL:
            mine = np.full_like(theirs, NEUTRAL[role])
        if mine is None or mine.shape != theirs.shape:
            shape = None if mine is None else mine.shape
            left.append(f"{one.name}.{role}: shape {shape}, but {other.name}'s is {theirs.shape}")
        else:
            values[other.weights[role]] = mine
    return values, Copied(len(values), left)


def _arrays(
    match: Match,
) -> Iterator[tuple[ComparedLayer, ComparedLayer, str, Array | None, Array | None]]:
    """Yield matched layers, a role, and a's array as b would hold it, and b's own."""
    for one, other in match.layers():
        for role in dict.fromkeys((*one.weights, *other.weights)):
            mine = match.a.array(one, role)
            if role == "bias_ih" and "bias_hh" not in other.weights and "bias_hh" in one.weights:
                mine = recurrent.comparable(one.kind, other.settings, _held(match.a, one))["bias"]
            elif role == "bias_hh" and role not in other.weights:
                continue  # it is part of the other one
            theirs = match.b.array(other, role)
            if one.kind == "prelu" and mine is not None and theirs is not None:
                mine = _shared_by(mine, theirs.shape)
            yield one, other, role, _as_written(mine, theirs), theirs


def _as_written(mine: Array | None, theirs: Array | None) -> Array | None:
    """Return a's kernel as b has it, if one is (out, in) and the other (out, in, 1, 1)."""
    if mine is None or theirs is None or squeezed(mine.shape) != squeezed(theirs.shape):
        return mine
    return mine.reshape(theirs.shape)


def _shared_by(slopes: Array, shape: tuple[int, ...]) -> Array:
    """Return PReLU's slopes for all that share them: one for all, or one for each channel."""
    first = slopes.reshape(-1, *(1,) * (len(shape) - 1)) if slopes.ndim == 1 else slopes
    if slopes.size == 1 or (first.ndim == len(shape) and first.shape[0] == shape[0]):
        return np.broadcast_to(first, shape) if first.ndim == len(shape) else slopes
    few = np.unique(slopes)
    return few if shape == (1,) and few.size == 1 else slopes


def _compared(
    match: Match,
) -> Iterator[tuple[ComparedLayer, ComparedLayer, str, Array | None, Array | None]]:
    """Yield the same, with arrays that are equal if the layers are."""
    for one, other in match.layers():
        mine, theirs = (
            recurrent.comparable(node.kind, node.settings, _held(graph, node))
            for graph, node in ((match.a, one), (match.b, other))
        )
        for role in dict.fromkeys((*mine, *theirs)):
            first, second = mine.get(role), theirs.get(role)
            if one.kind == "prelu" and first is not None and second is not None:
                larger = max(first.shape, second.shape, key=lambda s: (len(s), s))
                first, second = _shared_by(first, larger), _shared_by(second, larger)
            yield one, other, role, _as_written(first, second), second


def _held(graph: ModelGraph, node: ComparedLayer) -> dict[str, Array]:
    found = ((role, graph.array(node, role)) for role in node.weights)
    return {role: array for role, array in found if array is not None}


def _neutral(role: str, array: Array, kind: str) -> bool:
    if role == "weight" and kind not in NORMS:
        return False
    return role in NEUTRAL and bool((array == NEUTRAL[role]).all())


def _difference(
    role: str, mine: Array | None, theirs: Array | None, kind: str, allowed: float
) -> tuple[str, float | None, bool] | None:
    if mine is None or theirs is None:
        present = theirs if mine is None else mine
        if present is None or _neutral(role, present, kind):
            return None
        who = "only the second has one" if mine is None else "only the first has one"
        return who, None, mine is None
    if mine.shape != theirs.shape:
        return f"shape {mine.shape} and {theirs.shape}{_reshaped(mine, theirs)}", None, False
    wide, other = mine.astype(np.float64), theirs.astype(np.float64)
    if np.array_equal(wide, other):
        return None
    norm = float(np.linalg.norm(wide))
    apart = float(np.linalg.norm(wide - other)) / norm if norm else float("inf")
    if apart <= allowed:
        return None
    return f"relative L2 {apart:.1e}{_rearranged(wide, other, norm)}", apart, True


def _reshaped(mine: Array, theirs: Array) -> str:
    if sorted(mine.shape) == sorted(theirs.shape) and mine.ndim == theirs.ndim:
        return ": the axes are in another order"
    return ": the same number of elements" if mine.size == theirs.size else ""


def _rearranged(mine: Array, theirs: Array, norm: float) -> str:
    """Return what makes the two equal, if something simple does."""
    for text, changed in _changes(theirs):
        if changed.shape == mine.shape and float(np.linalg.norm(changed - mine)) <= ROUNDED * norm:
            return f": {text}"
    if np.allclose(np.sort(mine, axis=None), np.sort(theirs, axis=None), rtol=1e-6, atol=0):
        return ": the same values in another order"
    return ""


def _changes(array: Array) -> Iterator[tuple[str, Array]]:
    if array.ndim == 4:
        yield "height and width are exchanged", array.transpose(0, 1, 3, 2)
        yield "the kernel is turned by 180 degrees", array[:, :, ::-1, ::-1]
        yield "the kernel is flipped left to right", array[:, :, :, ::-1]
        yield "the kernel is flipped top to bottom", array[:, :, ::-1]
        yield "the input channels are in reverse order, as BGR is to RGB", array[:, ::-1]
        yield "input and output channels are exchanged", array.transpose(1, 0, 2, 3)
        moved = np.ascontiguousarray(array.transpose(2, 3, 1, 0))  # as HWIO has them in memory
        yield "(H, W, in, out) was reshaped, but should be transposed", moved.reshape(array.shape)
    if array.ndim == 2:
        yield "it isn't transposed", array.T
        yield "it was reshaped, but should be transposed", array.T.reshape(array.shape)
        for height in range(2, 15):  # flattened as (H, W, C) or as (C, H, W)
            if array.shape[1] % height**2 == 0:
                parts = array.reshape(len(array), height, height, -1)
                text = f"flattened as ({height}, {height}, C), but should be (C, …)"
                yield text, np.moveaxis(parts, -1, 1).reshape(array.shape)
                parts = array.reshape(len(array), -1, height, height)
                text = f"flattened as (C, {height}, {height}), but should be (…, C)"
                yield text, np.moveaxis(parts, 1, -1).reshape(array.shape)
    yield "the sign is reversed", -array
