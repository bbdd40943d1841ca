"""The points that two models have in common: which agree, and where an error begins.

A point is a matched layer or an output. Where a point differs although everything that is
computed from it agrees, the evidence decides what that means:

- The two hold the same values in another shape, or with their axes in another order: it agrees.
- The numbers of values differ, or a layer without a counterpart lies before or after it on the
  way to the next points that agree (a folded batch norm, an activation inside), or the two were
  matched by their place alone: the two don't correspond. The pair is given up, and both layers are
  part of a region, which computes the same in another way.
- Anything else is a difference that a later layer undoes or hides (channels exchanged and
  exchanged back; a slope below zero, of which a max pool sees nothing). It may show with other
  inputs, so it fails, with a note that what follows agrees. The same values in another order
  within a shape are always such a difference, whatever else is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..comparison.comparing import ROUNDING, Comparison
from .float32_inside import Inside
from .judging import Judge
from .match import Match
from .match_values import match_by_place, match_by_values
from .regions import Before, Region, find_regions, points_before


@dataclass
class Points:
    """The matched layers and outputs of two models, and what became of them.

    Args:
        match: which layers correspond.
        judge: compares them.
        layers: a's layer -> its comparison.
        outputs: the comparisons of what the models return.
        before: what each point is computed from.
        undone: a's layers that differ although everything computed from them agrees.
        rearranged: a's layers that agree in another shape -> how.
    """

    match: Match
    judge: Judge
    layers: dict[str, Comparison] = field(default_factory=dict)
    outputs: list[Comparison] = field(default_factory=list)
    before: dict[str, Before] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    rearranged: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, match: Match, judge: Judge) -> Points:
        """Compare what the graphs match, then what their values and places do."""
        points = cls(match, judge)
        points._compare()
        match_by_values(match, judge, [name for name in points.fails if points._is_layer(name)])
        match_by_place(match)
        match.sort()
        points._compare()
        points.outputs = judge.outputs()
        while points._excuse():
            pass
        points._find_guilty()
        return points

    @property
    def all(self) -> list[Comparison]:
        """Every comparison: layers in a's order, then outputs."""
        return [*(self.layers[name] for name in self.match.pairs), *self.outputs]

    @property
    def fails(self) -> set[str]:
        """The names of the points that don't agree."""
        return {e.name for e in [*self.layers.values(), *self.outputs] if e.fails}

    def regions(self) -> list[Region]:
        """Return what lies between the points."""
        guilty = {e.name for e in self.all if e.guilty}
        return find_regions(self.match, self.before, self.fails, guilty)

    def maybe_inside(self) -> list[str]:
        """Return the layers that differ, and may have float32 inside in one of the frameworks."""
        if not self.judge.exact:
            return []
        return [
            one.name for one, other in self.match.layers()
            if (one.name in self.judge.inside or self.layers[one.name].fails)
            and self.judge.may_be_inside(one, other)
        ]  # fmt: skip

    def inside(self) -> list[Inside]:
        """Return the layers that differ by float32 inside alone."""
        return [self.judge.inside[name] for name in self.match.pairs if name in self.judge.inside]

    def _is_layer(self, name: str) -> bool:
        return name in self.match.pairs and self.match.a.nodes[name].kind != "input"

    def _compare(self) -> None:
        pairs = {one.name: (one, other) for one, other in self.match.layers()}
        for name in [name for name in self.layers if name not in pairs]:
            del self.layers[name]
        for name, (one, other) in pairs.items():
            if name not in self.layers or not self.match.matched_by_graph(name):
                self.layers[name] = self.judge.layers(one, other)

    def _excuse(self) -> bool:
        """Excuse points that differ in shape only, and give up pairs; return whether any was."""
        match = self.match
        self.before, self.undone = points_before(match), []
        after: dict[str, list[str]] = {}
        for name, point in self.before.items():
            for source in point.points:
                after.setdefault(source, []).append(name)
        fails, given_up = self.fails, False
        for name in [*reversed(match.pairs)]:
            if name not in fails or not self._is_layer(name):
                continue
            one, other = match.a.nodes[name], match.b.nodes[match.pairs[name]]
            follow = after.get(name, [])
            undone = bool(follow) and fails.isdisjoint(follow)
            how = self.judge.rearranged(one, other)
            if how and (undone or how == "in another shape"):
                self.rearranged[name] = how
                self.layers[name] = self._as_agreeing(self.layers[name])
                fails.discard(name)
            elif undone and name not in match.given and self._is_no_pair(name, follow):
                match.unpair(name)
                del self.layers[name]
                given_up = True
            elif undone:
                self.undone.append(name)
            elif how:
                self.layers[name].problem = f"the same values {how}"
        return given_up

    def _as_agreeing(self, found: Comparison) -> Comparison:
        return Comparison(found.name, found.kind, found.leaf, ROUNDING, floor=found.floor)

    def _is_no_pair(self, name: str, follow: list[str]) -> bool:
        """Return whether two layers don't correspond, where all that follows them agrees."""
        match = self.match
        mine = match.a.trace.array(match.a.nodes[name].value)
        theirs = match.b.trace.array(match.b.nodes[match.pairs[name]].value)
        if mine.size != theirs.size:
            return True
        if np.allclose(np.sort(mine, axis=None), np.sort(theirs, axis=None), rtol=1e-9, atol=0):
            return False
        alone = any(self.before[point].a or self.before[point].b for point in (name, *follow))
        return alone or not match.matched_by_graph(name)

    def _find_guilty(self) -> None:
        """Mark the points that differ although all points that they are computed from agree."""
        fails = self.fails
        for endpoint in self.all:
            before = self.before.get(endpoint.name)
            known = () if before is None else before.points
            endpoint.guilty = endpoint.fails and fails.isdisjoint(known)
        if fails and not any(e.guilty for e in self.all):
            for endpoint in self.all:
                endpoint.guilty = endpoint.fails
