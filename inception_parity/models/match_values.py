"""The second pass of matching: layers that the graph tells nothing of are matched by their values.

Two layers that give the same values are the same point of two computations, whatever they
are called and in however many steps each model gets there. What is left is matched by its place:
two layers that feed the same matched layer, if their outputs have the same shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .graph import ModelGraph
from .judging import Judge
from .match import Match
from .regions import places


def match_by_values(match: Match, judge: Judge, free: Iterable[str] = ()) -> None:
    """Match layers whose values agree.

    Args:
        match: the match, to which pairs are added.
        judge: knows which values agree.
        free: pairs, by a's names, that don't agree: their layers may be matched with others.
    """
    loose = {name: match.pairs[name] for name in free if name not in match.given}
    mine = [name for name in match.only_a if name not in _settled(match)] + list(loose)
    theirs = [name for name in match.only_b if name not in _settled(match)] + [*loose.values()]
    found = _Signatures(match.b, judge, theirs)
    sure = {one: other for one, other in match.pairs.items() if one not in loose}
    order = {name: place for place, name in enumerate(match.a.nodes)}
    for one in sorted(mine, key=order.__getitem__):
        other = found.same_as(match.a, one, loose.get(one), sure)
        if other is not None:
            _separate(match, one, other)
            match.pair(one, other)
            match.by_values.append(one)
            sure[one] = other


def match_by_place(match: Match) -> None:
    """Match single layers that feed the same matched layer, or are the same output."""
    settled, backwards = _settled(match), match.backwards
    for one, other in list(places(match)):
        mine = [n for n in match.a.inputs_of(one) if n not in match.pairs and n not in settled]
        theirs = [n for n in match.b.inputs_of(other) if n not in backwards and n not in settled]
        if len(mine) != len(theirs):
            continue
        for x, y in zip(mine, theirs, strict=True):
            same_shape = match.a.nodes[x].shape == match.b.nodes[y].shape
            if same_shape and x not in match.pairs and y not in match.backwards:
                match.pair(x, y)
                match.by_place.append(x)


def _settled(match: Match) -> set[str]:
    return {*match.accepted, *match.folded}


def _separate(match: Match, one: str, other: str) -> None:
    """Take apart the pairs that two layers are in with others."""
    if one in match.pairs:
        match.unpair(one)
    if other in match.backwards:
        match.unpair(match.backwards[other])


class _Signatures:
    """Finds layers by their values; few are compared value by value."""

    def __init__(self, graph: ModelGraph, judge: Judge, names: Iterable[str]) -> None:
        self.graph, self.judge = graph, judge
        wanted = set(names)
        self.left = [name for name in graph.nodes if name in wanted]
        self.known = {name: _signature(graph, name) for name in self.left}

    def same_as(
        self, graph: ModelGraph, one: str, partner: str | None, pairs: Mapping[str, str]
    ) -> str | None:
        """Return the first layer left that agrees with a's, isn't its partner, and fits pairs."""
        mine = _signature(graph, one)
        if mine is None:
            return None
        for other in self.left:
            theirs = self.known[other]
            if theirs is None or other == partner or theirs[0] != mine[0]:
                continue
            near = abs(mine[1] - theirs[1]) <= 1e-3 * max(mine[1], theirs[1])
            if (
                near
                and self._fits(graph, one, other)
                and not self._crosses(graph, one, other, pairs)
            ):
                self.left.remove(other)
                return other
        return None

    def _fits(self, graph: ModelGraph, one: str, other: str) -> bool:
        mine, theirs = graph.nodes[one], self.graph.nodes[other]
        return (
            not self.judge.layers(mine, theirs).fails or self.judge.rearranged(mine, theirs) != ""
        )

    def _crosses(self, graph: ModelGraph, one: str, other: str, pairs: Mapping[str, str]) -> bool:
        """Return whether a pair would contradict the order of the nearest pairs before the two."""
        backwards = {theirs: mine for mine, theirs in pairs.items()}
        before, _ = self.graph.before(other, backwards)
        later = graph.reached([one])
        if any(backwards[name] in later for name in before):
            return True
        before, _ = graph.before(one, pairs)
        later = self.graph.reached([other])
        return any(pairs[name] in later for name in before)


def _signature(graph: ModelGraph, name: str) -> tuple[int, float] | None:
    """Return how many values a layer gives, and their norm; None if they tell nothing."""
    array = np.asarray(graph.trace.array(graph.nodes[name].value))
    if array.dtype.kind != "f" or array.size < 2 or array.min() == array.max():
        return None
    return array.size, float(np.linalg.norm(array))
