"""Finds corresponding layers of two models whose names, order and frameworks differ.

Layers are matched by what they are (kind, shapes, weights, settings) and by what comes
before and after them in the graph. The surest pair is taken first; each pair makes its
neighbours surer. No pair may contradict another's order.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InputError, nearest
from .graph import ComparedLayer, ModelGraph

ROUNDS = 12  # how far the surroundings are looked at: beyond a block of those that are alike
SURROUNDINGS = 8.0  # what surroundings that are the same that far count
LEAST = 3.0  # two layers with less in common are no pair

# Kinds that may have been confused with each other by mistake.
_FAMILIES = {
    "max_pool": "pool", "avg_pool": "pool", "adaptive_pool": "pool", "global_pool": "pool",
    "norm": "norm", "layer_norm": "norm", "rms_norm": "norm", "group_norm": "norm",
    "instance_norm": "norm",
    "add": "join", "mul": "join", "concat": "join",
}  # fmt: skip


@dataclass
class Match:
    """Which layers correspond.

    Args:
        a: one graph.
        b: the other.
        pairs: a's layer -> b's.
        only_a: layers of a without a counterpart.
        only_b: layers of b without one.
        accepted: those of them that the user says need none.
        folded: layers of one model that the other computes within another layer -> that one.
        given: a's layers whose pair the user gave.
        by_values: a's layers that were matched because the values agree.
        by_place: a's layers that were matched because both feed the same matched layer.
    """

    a: ModelGraph
    b: ModelGraph
    pairs: dict[str, str]
    only_a: list[str]
    only_b: list[str]
    accepted: list[str] = field(default_factory=list)
    folded: dict[str, str] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    by_values: list[str] = field(default_factory=list)
    by_place: list[str] = field(default_factory=list)

    def pair(self, one: str, other: str) -> None:
        """Match a layer of a with one of b; both must be without a counterpart."""
        self.pairs[one] = other
        self.only_a.remove(one)
        self.only_b.remove(other)

    def unpair(self, one: str) -> None:
        """Leave a's layer, and b's that it was matched with, without a counterpart."""
        self.only_a.append(one)
        self.only_b.append(self.pairs.pop(one))
        for names in (self.by_values, self.by_place):
            if one in names:
                names.remove(one)

    def sort(self) -> None:
        """Put everything into the order of the two graphs."""
        self.pairs = {name: self.pairs[name] for name in self.a.nodes if name in self.pairs}
        for names, graph in ((self.only_a, self.a), (self.only_b, self.b)):
            left = set(names)
            names[:] = [name for name in graph.nodes if name in left]

    def matched_by_graph(self, one: str) -> bool:
        """Return whether a's layer was matched by what it is, not by its values or its place."""
        return one not in self.by_values and one not in self.by_place

    @property
    def backwards(self) -> dict[str, str]:
        """b's layer -> a's."""
        return {other: one for one, other in self.pairs.items()}

    def layers(self) -> Iterator[tuple[ComparedLayer, ComparedLayer]]:
        """Yield a's layer and b's of each pair."""
        for one, other in self.pairs.items():
            yield self.a.nodes[one], self.b.nodes[other]

    def holds_fold(self, one: ComparedLayer, other: ComparedLayer) -> bool:
        """Return whether one layer of a pair computes what two layers of the other model do."""
        return not {one.name, other.name}.isdisjoint(self.folded.values())


Corrections = Mapping[str | None, str | Sequence[str] | None]


def match_graphs(
    a: ModelGraph,
    b: ModelGraph,
    corrections: Corrections | None = None,
    folds: Callable[[str, str, str], bool] = lambda one, other, before: False,
) -> Match:
    """Match the layers of two graphs.

    Args:
        a: one.
        b: the other.
        corrections: the user's: a's layer -> b's, or None if it needs no counterpart; under
            the key None, b's layers that need none.
        folds: tells whether of a's layer and b's one is a batch norm, and the other both that
            and the third layer, which is before it.

    Raises:
        InputError: a correction names a layer that isn't there, or one twice.
    """
    pairs, without_a, without_b = _given(a, b, corrections or {})
    finder = _Finder(_Side(a, without_a), _Side(b, without_b))
    for one, other in (*zip(a.trace.inputs, b.trace.inputs, strict=False), *pairs.items()):
        finder.accept(one, other)
    found = finder.run()
    match = Match(
        a,
        b,
        {name: found[name] for name in a.nodes if name in found},
        [name for name in a.nodes if name not in found],
        [name for name in b.nodes if name not in finder.taken],
        [*without_a, *without_b],
        given=list(pairs),
    )
    _fold(match, folds)
    return match


def _given(
    a: ModelGraph, b: ModelGraph, corrections: Corrections
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return the user's pairs, and the layers of a and of b that they say have none."""
    pairs: dict[str, str] = {}
    without_a: list[str] = []
    without_b: list[str] = []
    for one, other in corrections.items():
        if one in (None, ""):
            without_b += [other] if isinstance(other, str) else list(other or ())
        elif other in (None, ""):
            without_a.append(str(one))
        elif isinstance(other, str):
            pairs[str(one)] = other
        else:
            raise InputError(f"match {one!r}: {other!r}, but should be one layer's name, or None")
    for graph, names in ((a, [*pairs, *without_a]), (b, [*pairs.values(), *without_b])):
        for name in names:
            if name not in graph.nodes:
                title = graph.trace.run.network
                known = " (it passes values on, and isn't compared)" if name in graph.trace.layers \
                    else nearest(name, graph.nodes)  # fmt: skip
                raise InputError(f"match: {title} has no layer {name!r}{known}")
    twice = [name for name in pairs.values() if list(pairs.values()).count(name) > 1]
    if twice:
        raise InputError(f"match: {twice[0]!r} is given to two layers, but should be to one")
    return pairs, without_a, without_b


class _Side:
    """What is known of the layers of one graph before any pair is."""

    def __init__(self, graph: ModelGraph, without: Collection[str]) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.candidates: dict[str, list[ComparedLayer]] = {}  # by family
        for node in graph.nodes.values():
            if node.name not in without and node.kind != "input":
                self.candidates.setdefault(_family(node), []).append(node)
        self.labels = _labels(graph)
        self.before, self.after = _reach(graph)
        self.depth = _depths(graph)
        self.order = {name: i for i, name in enumerate(graph.nodes)}
        self.words = {name: set(re.findall(r"[a-z]+|\d+", name.lower())) for name in graph.nodes}


class _Finder:
    """Takes the surest pair, again and again."""

    def __init__(self, a: _Side, b: _Side) -> None:
        self.a, self.b = a, b
        self.pairs: dict[str, str] = {}
        self.taken: dict[str, str] = {}
        self.queue: list[tuple[float, float, int, int, str, str]] = []
        self.own = {
            (one.name, other.name): self._own(one, other)
            for family, nodes in a.candidates.items()
            for one in nodes
            for other in b.candidates.get(family, ())
        }

    def run(self) -> dict[str, str]:
        """Match all that can be, and return the pairs."""
        for one, other in self.own:
            self._push(one, other)
        while self.queue:
            negative, _, _, _, one, other = heapq.heappop(self.queue)
            if one in self.pairs or other in self.taken:
                continue
            score = self._score(one, other)
            if score < -negative - 1e-9:  # a neighbour went elsewhere since
                self._push(one, other)
            elif score >= LEAST and self._in_order(one, other):
                self.accept(one, other)
        return self.pairs

    def accept(self, one: str, other: str) -> None:
        """Take a pair, and look again at its neighbours."""
        self.pairs[one], self.taken[other] = other, one
        for x in self.a.graph.neighbours(one):
            for y in self.b.graph.neighbours(other):
                if x not in self.pairs and y not in self.taken and (x, y) in self.own:
                    self._push(x, y)

    def _push(self, one: str, other: str) -> None:
        score = self._score(one, other)
        if score >= LEAST:
            far = abs(self.a.depth[one] - self.b.depth[other])
            order = (self.a.order[one], self.b.order[other])
            heapq.heappush(self.queue, (-score, far, *order, one, other))

    def _own(self, one: ComparedLayer, other: ComparedLayer) -> float:
        """Return what two layers have in common, whatever their neighbours are."""
        a, b = self.a, self.b
        score = 4.0 if one.kind == other.kind else 1.0
        score += 1.0 if one.settings == other.settings else 0.0
        score += 2.0 if one.shape == other.shape else 0.0
        score += 1.0 if one.shape[1:2] == other.shape[1:2] else -3.0
        kernels = a.graph.kernel(one.name), b.graph.kernel(other.name)
        if any(kernels):
            score += 3.0 if kernels[0] == kernels[1] else -2.0
            score += 5.0 if a.graph.digest(one) == b.graph.digest(other) else 0.0
        words = a.words[one.name], b.words[other.name]
        score += len(words[0] & words[1]) / max(1, len(words[0] | words[1]))
        score += 2.0 if one.name == other.name else 0.0
        labels = zip(a.labels[one.name], b.labels[other.name], strict=True)
        score += SURROUNDINGS / (2 * ROUNDS) * sum(mine == theirs for mine, theirs in labels)
        return score - 4 * abs(a.depth[one.name] - b.depth[other.name])

    def _score(self, one: str, other: str) -> float:
        """Return what two layers have in common, with what is known of their neighbours."""
        inputs = self._agreement(self.a.nodes[one].inputs, self.b.nodes[other].inputs)
        followers = self.a.graph.followers[one], self.b.graph.followers[other]
        return self.own[one, other] + 4.0 * inputs + 3.0 * self._agreement(*followers)

    def _agreement(self, mine: Sequence[str], theirs: Sequence[str]) -> float:
        """Return how many neighbours are pairs, less those that are paired elsewhere."""
        if not mine or not theirs:
            return 0.0
        good = sum(self.pairs.get(name) in theirs for name in mine)
        bad = sum(name in self.pairs and self.pairs[name] not in theirs for name in mine)
        bad += sum(name in self.taken and self.taken[name] not in mine for name in theirs)
        return (good - bad) / max(len(mine), len(theirs))

    def _in_order(self, one: str, other: str) -> bool:
        """Return whether no pair has one of the two before what is after its other."""
        for x, y in self.pairs.items():
            i, j = self.a.order[x], self.b.order[y]
            if self.a.before[one] >> i & 1 and self.b.after[other] >> j & 1:
                return False
            if self.a.after[one] >> i & 1 and self.b.before[other] >> j & 1:
                return False
        return True


def _family(node: ComparedLayer) -> str:
    if node.is_dense:
        return "dense"
    return _FAMILIES.get(node.kind, node.kind)


def _labels(graph: ModelGraph) -> dict[str, list[int]]:
    """Return hashes of each layer's surroundings, before and after it, nearer to farther."""
    own = {
        name: hash((_family(node), node.shape[1:2], graph.kernel(name)))
        for name, node in graph.nodes.items()
    }
    before, after = dict(own), dict(own)
    found: dict[str, list[int]] = {name: [] for name in own}
    for _ in range(ROUNDS):
        before = {
            name: hash((own[name], *sorted(before[s] for s in graph.nodes[name].inputs)))
            for name in own
        }
        after = {
            name: hash((own[name], *sorted(after[f] for f in graph.followers[name])))
            for name in own
        }
        for name in own:
            found[name] += [before[name], after[name]]
    return found


def _reach(graph: ModelGraph) -> tuple[dict[str, int], dict[str, int]]:
    """Return which layers are before and after each, and itself, as bits in execution order."""
    before = {name: 1 << i for i, name in enumerate(graph.nodes)}
    after = dict(before)
    for name, node in graph.nodes.items():
        for source in node.inputs:
            before[name] |= before[source]
    for name in reversed(graph.nodes):
        for follower in graph.followers[name]:
            after[name] |= after[follower]
    return before, after


def _depths(graph: ModelGraph) -> dict[str, float]:
    """Return how deep each layer is, from 0, the input, to 1."""
    depth: dict[str, float] = {}
    for name, node in graph.nodes.items():
        depth[name] = max((depth[source] + 1 for source in node.inputs), default=0.0)
    deepest = max(depth.values(), default=0.0) or 1.0
    return {name: value / deepest for name, value in depth.items()}


def _fold(match: Match, folds: Callable[[str, str, str], bool]) -> None:
    """Pair a batch norm with the convolution that it was folded into, as exporters do.

    The convolution before the norm then has no counterpart: what it alone gives, the other
    model never computes. Where neither values nor weights agree the norm may as well be missing.
    """
    a, b = match.a, match.b
    for graph, other, alone, partners in (
        (a, b, match.only_a, dict(match.pairs)),
        (b, a, match.only_b, match.backwards),
    ):
        for name in list(alone):
            node = graph.nodes[name]
            before = node.inputs[0] if len(node.inputs) == 1 else ""
            if node.kind != "norm" or before not in partners or len(graph.followers[before]) != 1:
                continue
            partner = partners[before]
            if (
                graph.nodes[before].kind not in ("conv", "dense")
                or "bias" not in other.nodes[partner].weights
            ):
                continue
            one, two = (name, partner) if graph is a else (partner, name)
            if folds(one, two, before):
                alone.remove(name)
                alone.append(before)
                match.folded[before] = name
                if graph is a:
                    del match.pairs[before]
                match.pairs[one] = two
