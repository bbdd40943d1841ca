"""Finds corresponding layers of two models whose names, order and frameworks differ.

Layers are matched by what they are (kind, shapes, weights, settings) and by what comes
before and after them in the graph. The surest pair is taken first; each pair makes its
neighbours surer. No pair may contradict another's order.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InputError, nearest
from .graph import ComparedLayer, ModelGraph

ROUNDS = 4  # how far the surroundings are looked at
LEAST = 3.0  # two layers with less in common are no pair

# Kinds that may have been confused with each other by mistake.
_FAMILIES = {
    "max_pool": "pool", "avg_pool": "pool", "adaptive_pool": "pool", "global_pool": "pool",
    "add": "join", "mul": "join", "concat": "join",
}  # fmt: skip


@dataclass
class Match:
    """Which layers correspond.

    Args:
        pairs: a's layer -> b's.
        only_a: layers of a without a counterpart.
        only_b: layers of b without one.
        accepted: those of them that the user says need none.
        folded: layers of one model that the other computes within another layer -> that one.
        given: a's layers whose pair the user gave.
    """

    pairs: dict[str, str]
    only_a: list[str]
    only_b: list[str]
    accepted: list[str] = field(default_factory=list)
    folded: dict[str, str] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)


Corrections = Mapping[str | None, str | Sequence[str] | None]


def match_graphs(
    a: ModelGraph,
    b: ModelGraph,
    corrections: Corrections | None = None,
    agree: Callable[[str, str], bool] = lambda one, other: False,
) -> Match:
    """Match the layers of two graphs.

    Args:
        a: one.
        b: the other.
        corrections: the user's: a's layer -> b's, or None if it needs no counterpart; under
            the key None, b's layers that need none.
        agree: tells whether a's layer and b's give the same values; asked if that decides.

    Raises:
        InputError: a correction names a layer that isn't there, or one twice.
    """
    pairs, without_a, without_b = _given(a, b, corrections or {})
    finder = _Finder(a, b, set(without_a), set(without_b))
    for index in range(min(len(a.trace.inputs), len(b.trace.inputs))):
        finder.accept(a.trace.inputs[index], b.trace.inputs[index])
    for one, other in pairs.items():
        finder.accept(one, other)
    finder.run()
    found = finder.pairs
    match = Match(
        {name: found[name] for name in a.nodes if name in found},
        [n for n in a.nodes if n not in found],
        [n for n in b.nodes if n not in set(found.values())],
        [*without_a, *without_b],
        given=list(pairs),
    )
    _fold(a, b, match, agree)
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


class _Finder:
    """Takes the surest pair, again and again."""

    def __init__(
        self, a: ModelGraph, b: ModelGraph, without_a: set[str], without_b: set[str]
    ) -> None:
        self.a, self.b = a, b
        self.pairs: dict[str, str] = {}
        self.taken: dict[str, str] = {}
        self.labels_a, self.labels_b = _labels(a), _labels(b)
        self.before_a, self.after_a = _reach(a)
        self.before_b, self.after_b = _reach(b)
        self.depth_a, self.depth_b = _depths(a), _depths(b)
        self.order_a = {name: i for i, name in enumerate(a.nodes)}
        self.order_b = {name: i for i, name in enumerate(b.nodes)}
        self.words_a = {name: set(_words(name)) for name in a.nodes}
        self.words_b = {name: set(_words(name)) for name in b.nodes}
        self.queue: list[tuple[float, float, int, int, str, str]] = []
        kinds: dict[str, list[ComparedLayer]] = {}
        for node in b.nodes.values():
            if node.name not in without_b and node.kind != "input":
                kinds.setdefault(_family(node), []).append(node)
        self.alike: dict[str, list[ComparedLayer]] = {
            node.name: kinds.get(_family(node), [])
            for node in a.nodes.values()
            if node.name not in without_a and node.kind != "input"
        }
        self.own = {
            (one, other.name): self._own(a.nodes[one], other)
            for one, others in self.alike.items()
            for other in others
        }

    def run(self) -> None:
        """Match all that can be."""
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

    def accept(self, one: str, other: str) -> None:
        """Take a pair, and look again at what is beside it."""
        self.pairs[one], self.taken[other] = other, one
        for x in (*self.a.nodes[one].inputs, *self.a.followers[one]):
            for y in (*self.b.nodes[other].inputs, *self.b.followers[other]):
                if x not in self.pairs and y not in self.taken and (x, y) in self.own:
                    self._push(x, y)

    def _push(self, one: str, other: str) -> None:
        score = self._score(one, other)
        if score >= LEAST:
            far = abs(self.depth_a[one] - self.depth_b[other])
            order = (self.order_a[one], self.order_b[other])
            heapq.heappush(self.queue, (-score, far, *order, one, other))

    def _own(self, one: ComparedLayer, other: ComparedLayer) -> float:
        """Return what two layers have in common, whatever is beside them."""
        score = 4.0 if one.kind == other.kind else 1.0
        same = one.settings == other.settings
        score += 1.0 if same else 0.0
        score += 2.0 if one.shape == other.shape else 0.0
        score += 1.0 if one.shape[1:2] == other.shape[1:2] else -3.0
        kernels = self.a.kernel(one.name), self.b.kernel(other.name)
        if any(kernels):
            score += 3.0 if kernels[0] == kernels[1] else -2.0
            score += 5.0 if _same_weights(self.a, self.b, one, other) else 0.0
        words = self.words_a[one.name], self.words_b[other.name]
        score += len(words[0] & words[1]) / max(1, len(words[0] | words[1]))
        score += 2.0 if one.name == other.name else 0.0
        for mine, theirs in zip(self.labels_a[one.name], self.labels_b[other.name], strict=True):
            score += 1.0 if mine == theirs else 0.0
        return score - 4 * abs(self.depth_a[one.name] - self.depth_b[other.name])

    def _score(self, one: str, other: str) -> float:
        """Return what two layers have in common, with what is known of their neighbours."""
        inputs = self.a.nodes[one].inputs, self.b.nodes[other].inputs
        followers = self.a.followers[one], self.b.followers[other]
        return (
            self.own[one, other]
            + 4.0 * self._agreement(*inputs)
            + 3.0 * self._agreement(*followers)
        )

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
            i, j = self.order_a[x], self.order_b[y]
            if self.before_a[one] >> i & 1 and self.after_b[other] >> j & 1:
                return False
            if self.after_a[one] >> i & 1 and self.before_b[other] >> j & 1:
                return False
        return True


def _family(node: ComparedLayer) -> str:
    return _FAMILIES.get(node.kind, node.kind)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", name.lower())


def _same_weights(a: ModelGraph, b: ModelGraph, one: ComparedLayer, other: ComparedLayer) -> bool:
    if "weight" not in one.weights or "weight" not in other.weights:
        return False
    files = [g.trace.layers[n.weights["weight"][0]].weights[n.weights["weight"][1]]
             for g, n in ((a, one), (b, other))]  # fmt: skip
    return _digest(a, files[0]) == _digest(b, files[1])


def _digest(graph: ModelGraph, file: str) -> tuple[tuple[int, ...], bytes]:
    """Return what tells arrays apart: the shape, and the first bytes of a float32 copy's hash."""
    import hashlib

    import numpy as np

    known = graph.__dict__.setdefault("_digests", {})
    if file not in known:
        array = np.load(graph.trace.folder / file, allow_pickle=False).astype(np.float32)
        known[file] = (array.shape, hashlib.sha256(np.ascontiguousarray(array).data).digest()[:8])
    found: tuple[tuple[int, ...], bytes] = known[file]
    return found


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
    """Return which layers are before and after each, as bits in execution order."""
    bit = {name: 1 << i for i, name in enumerate(graph.nodes)}
    before: dict[str, int] = {}
    for name, node in graph.nodes.items():
        before[name] = 0
        for source in node.inputs:
            before[name] |= before[source] | bit[source]
    after: dict[str, int] = {}
    for name in reversed(graph.nodes):
        after[name] = 0
        for follower in graph.followers[name]:
            after[name] |= after[follower] | bit[follower]
    return before, after


def _depths(graph: ModelGraph) -> dict[str, float]:
    """Return how deep each layer is, from 0, the input, to 1."""
    depth: dict[str, float] = {}
    for name, node in graph.nodes.items():
        depth[name] = max((depth[source] + 1 for source in node.inputs), default=0.0)
    deepest = max(depth.values(), default=0.0) or 1.0
    return {name: value / deepest for name, value in depth.items()}


def _fold(a: ModelGraph, b: ModelGraph, match: Match, agree: Callable[[str, str], bool]) -> None:
    """Pair a batch norm with the convolution that it was folded into, as exporters do.

    The convolution before the norm then has no counterpart: what it alone gives, the
    other model never computes. Where the values differ the norm may as well be missing.
    """
    backwards = {other: one for one, other in match.pairs.items()}
    for graph, other, alone, pairs, is_a in (
        (a, b, match.only_a, dict(match.pairs), True),
        (b, a, match.only_b, backwards, False),
    ):
        for name in list(alone):
            node = graph.nodes[name]
            if node.kind != "norm" or len(node.inputs) != 1:
                continue
            before = node.inputs[0]
            if graph.nodes[before].kind not in ("conv", "dense") or before not in pairs:
                continue
            if (
                len(graph.followers[before]) != 1
                or "bias" not in other.nodes[pairs[before]].weights
            ):
                continue
            partner = pairs[before]
            if not (agree(name, partner) if is_a else agree(partner, name)):
                continue
            alone.remove(name)
            alone.append(before)
            match.folded[before] = name
            if is_a:
                del match.pairs[before]
                match.pairs[name] = partner
            else:
                match.pairs[partner] = name
