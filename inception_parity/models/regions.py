"""Regions: what two models compute between points that both have, each in its own way.

A layer without a counterpart is no difference by itself. One GRU of two layers and two GRU
layers, or attention in one operation and in ten, give the same values afterwards, and
that is what is judged. A region never fails: the point after it does, if it differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .graph import ModelGraph
from .match import Match

SAME = "computes the same in another way"
DIFFERS = "differs"
INHERITS = "inherits an error"
UNUSED = "isn't used"


@dataclass(frozen=True)
class Region:
    """Layers without counterparts that belong together.

    Args:
        a: the first model's layers.
        b: the second's.
        before: the matched points that they are computed from, by a's names.
        after: the matched points and outputs that are computed from them, by a's names.
        verdict: `SAME`, `DIFFERS`, `INHERITS` or `UNUSED`.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class Before:
    """What a point is computed from.

    Args:
        points: the nearest matched points before it in either model, by a's names.
        a: a's layers without a counterpart on the way.
        b: b's.
    """

    points: tuple[str, ...]
    a: tuple[str, ...]
    b: tuple[str, ...]


def points_before(match: Match) -> dict[str, Before]:
    """Return what every matched point and every output is computed from."""
    backwards = match.backwards
    found = {}
    for one, other in places(match):
        mine, only_a = match.a.before(one, match.pairs)
        theirs, only_b = match.b.before(other, backwards)
        points = dict.fromkeys([*mine, *(backwards[name] for name in theirs)])
        found[one] = Before(tuple(points), tuple(only_a), tuple(only_b))
    return found


def places(match: Match) -> Iterator[tuple[str, str]]:
    """Yield a's name and b's of every matched point, and of every output that both have."""
    yield from match.pairs.items()
    yield from zip(match.a.trace.outputs, match.b.trace.outputs, strict=False)


def find_regions(
    match: Match, before: dict[str, Before], fails: Collection[str], guilty: Collection[str]
) -> list[Region]:
    """Return the regions of a match, in a's order.

    Args:
        match: the match.
        before: what each point is computed from.
        fails: points that differ.
        guilty: those of them where an error begins.
    """
    groups = _Groups()
    for graph, matched, which in (
        (match.a, match.pairs, "a"), (match.b, match.backwards, "b"),
    ):  # fmt: skip
        for name in graph.nodes:
            if name not in matched:
                groups.join((which, name), (which, name))
                for source in graph.nodes[name].inputs:
                    if source not in matched:
                        groups.join((which, name), (which, source))
    for point in before.values():
        members = [*(("a", name) for name in point.a), *(("b", name) for name in point.b)]
        for member in members:
            groups.join(members[0], member)
    return [_region(match, members, before, fails, guilty) for members in groups.all()]


def _region(
    match: Match, members: list[tuple[str, str]], before: dict[str, Before],
    fails: Collection[str], guilty: Collection[str],
) -> Region:  # fmt: skip
    mine = _in_order(match.a, {name for which, name in members if which == "a"})
    theirs = _in_order(match.b, {name for which, name in members if which == "b"})
    after = [
        name for name, point in before.items()
        if not (set(mine).isdisjoint(point.a) and set(theirs).isdisjoint(point.b))
    ]  # fmt: skip
    backwards = match.backwards
    sources = [source for name in mine for source in match.a.nodes[name].inputs]
    sources += [backwards[source] for name in theirs for source in match.b.nodes[name].inputs
                if source in backwards]  # fmt: skip
    entered = [name for name in dict.fromkeys(sources) if name in match.pairs]
    verdict = (
        UNUSED if not after
        else DIFFERS if any(name in guilty for name in after)
        else INHERITS if any(name in fails for name in after)
        else SAME
    )  # fmt: skip
    return Region(mine, theirs, tuple(entered), tuple(after), verdict)


def _in_order(graph: ModelGraph, names: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in graph.nodes if name in names)


class _Groups:
    """Sets of layers, joined pair by pair."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def join(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        mine, theirs = self._of.setdefault(one, [one]), self._of.setdefault(other, [other])
        if mine is not theirs:
            mine += theirs
            for member in theirs:
                self._of[member] = mine

    def all(self) -> list[list[tuple[str, str]]]:
        return list({id(group): group for group in self._of.values()}.values())
