"""Which arrays of two collections correspond: by name, by values, by shape and order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, nearest
from ..formats import Arrays

TOLD, NAME, VALUES, PLACE = "as told", "by name", "by values", "by shape and order"
# Two arrays with as many values, whose sizes and extremes are this close, hold the same values.
CLOSE = 1e-3


@dataclass
class TensorMatch:
    """Pairs of arrays.

    Args:
        pairs: the first's name -> the second's, in the first's order.
        how: the first's name -> why: as told, by name, by values, by shape and order.
        only_a: names of the first that have no counterpart.
        only_b: those of the second.
        accepted: those that the user says need none.
    """

    pairs: dict[str, str]
    how: dict[str, str]
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)


def match_tensors(
    a: Mapping[str, NDArray[Any]],
    b: Mapping[str, NDArray[Any]],
    corrections: Mapping[str | None, Any] | None = None,
) -> TensorMatch:
    """Match two collections.

    Args:
        a: the first.
        b: the second.
        corrections: a's name -> b's, or None if it needs no counterpart; under the key
            None, names of b that need none.

    Raises:
        InputError: a correction names an array that isn't there.
    """
    pairs, accepted = _told(a, b, corrections or {})
    how = dict.fromkeys(pairs, TOLD)

    def left() -> tuple[Arrays, Arrays]:
        taken = set(pairs.values())
        return (
            {n: x for n, x in a.items() if n not in pairs and n not in accepted},
            {n: x for n, x in b.items() if n not in taken and n not in accepted},
        )

    for reason, found in ((NAME, _by_name), (VALUES, _by_values), (PLACE, _by_place)):
        new = found(*left())
        pairs |= new
        how |= dict.fromkeys(new, reason)
    ordered = {name: pairs[name] for name in a if name in pairs}
    only_a, only_b = left()
    return TensorMatch(ordered, how, list(only_a), list(only_b), accepted)


def _told(
    a: Mapping[str, Any], b: Mapping[str, Any], corrections: Mapping[str | None, Any]
) -> tuple[dict[str, str], list[str]]:
    pairs, accepted = {}, []
    for one, other in corrections.items():
        if one in (None, ""):
            accepted += [other] if isinstance(other, str) else list(other or ())
        elif other in (None, ""):
            accepted.append(str(one))
        else:
            pairs[str(one)] = str(other)
    for names, known in ((pairs, a), (pairs.values(), b), (accepted, {**a, **b})):
        for name in names:
            if name not in known:
                raise InputError(f"match: no array {name!r}{nearest(name, known)}")
    return pairs, accepted


def _by_name(a: Arrays, b: Arrays) -> dict[str, str]:
    """Pair equal names; and names that are equal but for case and separators, if only they are."""
    pairs = {name: name for name in a if name in b}
    mine, theirs = (
        _unique(_plain(name) for name in names if name not in pairs) for names in (a, b)
    )
    plain_b = {_plain(name): name for name in b if name not in pairs}
    for name in a:
        if name not in pairs and _plain(name) in mine & theirs:
            pairs[name] = plain_b[_plain(name)]
    return pairs


def _plain(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+|\d+", name.lower()))


def _unique(names: Any) -> set[tuple[str, ...]]:
    every = list(names)
    return {name for name in every if every.count(name) == 1}


def _by_values(a: Arrays, b: Arrays) -> dict[str, str]:
    """Pair arrays that hold the same values, in whatever order, and aren't constant."""
    of_a, of_b = ({n: _fingerprint(x) for n, x in arrays.items()} for arrays in (a, b))
    pairs: dict[str, str] = {}
    for name, mine in of_a.items():
        near = [
            other
            for other, theirs in of_b.items()
            if other not in pairs.values() and _same_values(mine, theirs)
        ]
        if near:  # of several, one whose shape and name are alike, else the next in order
            pairs[name] = max(
                near, key=lambda other: (a[name].shape == b[other].shape, _alike(name, other))
            )
    return pairs


def _fingerprint(array: NDArray[Any]) -> tuple[float, ...]:
    if array.size == 0 or array.dtype.kind == "c":
        return (float(array.size),)
    wide = array.astype(np.float64).reshape(-1)
    if not np.isfinite(wide).all() or wide.min() == wide.max():
        return (float(array.size),)
    with np.errstate(over="ignore"):
        norm = float(np.sqrt(np.mean(wide**2)))
    return float(array.size), norm, *(float(q) for q in np.quantile(wide, (0, 0.1, 0.5, 0.9, 1)))


def _same_values(mine: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    if len(mine) == 1 or len(mine) != len(theirs) or mine[0] != theirs[0]:
        return False
    scale = max(mine[1], theirs[1])
    return all(abs(x - y) <= CLOSE * scale for x, y in zip(mine[1:], theirs[1:], strict=True))


def _by_place(a: Arrays, b: Arrays) -> dict[str, str]:
    """Align the rest in order: pairs have the same shape, but for the order of its axes."""
    first, second = list(a), list(b)
    score = np.zeros((len(first) + 1, len(second) + 1))
    own = np.zeros((len(first), len(second)))
    for i, name in enumerate(first):
        for j, other in enumerate(second):
            own[i, j] = _likeness(name, a[name], other, b[other])
    for i in reversed(range(len(first))):
        for j in reversed(range(len(second))):
            both = own[i, j] + score[i + 1, j + 1] if own[i, j] else 0.0
            score[i, j] = max(score[i + 1, j], score[i, j + 1], both)
    pairs, i, j = {}, 0, 0
    while i < len(first) and j < len(second):
        if own[i, j] and score[i, j] == own[i, j] + score[i + 1, j + 1]:
            pairs[first[i]] = second[j]
            i, j = i + 1, j + 1
        elif score[i, j] == score[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(name: str, mine: NDArray[Any], other: str, theirs: NDArray[Any]) -> float:
    one, two = (tuple(side for side in x.shape if side > 1) for x in (mine, theirs))
    if sorted(one) != sorted(two):
        return 0.0
    return (2.0 if mine.shape == theirs.shape else 1.0) + _alike(name, other)


def _alike(name: str, other: str) -> float:
    one, two = set(_plain(name)), set(_plain(other))
    return len(one & two) / max(1, len(one | two))
