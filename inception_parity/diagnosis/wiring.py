"""Mistakes between layers: branches in another order, a layer with the wrong input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from .fixes import words
from .suspect import Candidate, Fix, SuspectLayer

_ORDER: Fix = words(
    pt="torch.cat([branch1, branch2, …], dim=1), in the reference's order",
    tf="layers.Concatenate()([branch1, branch2, …]), in the reference's order",
    mx="np.concatenate([branch1, branch2, …], axis=1), in the reference's order",
    other="the branches in the reference's order",
)


def branches(layer: SuspectLayer) -> Iterator[Candidate]:
    """Branches in another order, one in another's place, interleaved, along another axis."""
    inputs = layer.inputs
    count = len(inputs)
    orders = permutations(range(count)) if count <= 5 else _swaps(count)
    for order in orders:
        if order == tuple(range(count)):
            continue
        moved = sum(i != j for i, j in enumerate(order))
        text = f"branches joined in the order {_said(order)}"
        if moved == 2:
            i, j = (n for n, k in enumerate(order) if n != k)
            text = f"branches {i + 1} and {j + 1} exchanged"
        taken = layer.fed(*(inputs[i] for i in order))
        yield Candidate("branch-order", text, _ORDER, taken, 1 if moved == 2 else 2)
    for i in range(count):
        for j in range(count):
            if i != j and inputs[i].shape == inputs[j].shape:
                text = f"branch {j + 1} twice: in place of branch {i + 1} too"
                other = layer.fed(*(inputs[j] if n == i else x for n, x in enumerate(inputs)))
                yield Candidate("branch-repeated", text, _ORDER, other, 2)
    for i in range(count):
        text = f"zeros in place of branch {i + 1}"
        empty = layer.fed(*(np.zeros_like(x) if n == i else x for n, x in enumerate(inputs)))
        yield Candidate("branch-missing", text, _ORDER, empty, 2)
    if len({x.shape for x in inputs}) == 1 and count > 1:
        mixed = np.stack(inputs, axis=2).reshape(layer.reference.shape)
        text = "the branches' channels are interleaved, but should follow each other"
        yield Candidate("branch-order", text, _ORDER, replace(layer.fed(mixed), kind="output"), 2)


def _swaps(count: int) -> Iterator[tuple[int, ...]]:
    for i in range(count):
        for j in range(i + 1, count):
            order = list(range(count))
            order[i], order[j] = j, i
            yield tuple(order)
    yield tuple(range(count))[::-1]


def _said(order: tuple[int, ...]) -> str:
    return ", ".join(str(i + 1) for i in order)


def addends(layer: SuspectLayer) -> Iterator[Candidate]:
    """A sum that lacks one of its terms, or has one scaled."""
    for i in range(len(layer.inputs)):
        others = [y for j, y in enumerate(layer.inputs) if j != i]
        if others:
            fix = words(other="add both: the branch and the shortcut")
            text = f"term {i + 1} of the sum is missing"
            yield Candidate("branch-missing", text, fix, layer.fed(*others))
            less = layer.fed(*(-y if j == i else y for j, y in enumerate(layer.inputs)))
            text = f"term {i + 1} is subtracted"
            yield Candidate("branch-sign", text, fix, less, 2)
            positive = layer.fed(*(np.maximum(y, 0) if j == i else y
                                  for j, y in enumerate(layer.inputs)))  # fmt: skip
            text = f"a ReLU on term {i + 1} before the sum"
            yield Candidate("activation-surplus", text, fix, positive, 2)


def flattened(layer: SuspectLayer) -> Iterator[Candidate]:
    """Flattened in another order than C, H, W."""
    if not layer.inputs or layer.inputs[0].ndim != 4:
        return
    fix = words(
        pt="torch.flatten(x, 1) on (N, C, H, W)",
        tf="layers.Permute((3, 1, 2)) before layers.Flatten()",
        mx="nn.Flatten on (N, C, H, W)",
        other="flatten in the order C, H, W",
    )
    for names, order in (("H, W, C", (1, 2, 0)), ("C, W, H", (0, 2, 1)), ("W, H, C", (2, 1, 0)),
                         ("W, C, H", (2, 0, 1)), ("H, C, W", (1, 0, 2))):  # fmt: skip
        text = f"flattened in the order {names}, but should be C, H, W"
        cost = 1 if names == "H, W, C" else 2
        yield Candidate("flatten-order", text, fix, layer.but(order=order), cost)


def fed_from_elsewhere(layer: SuspectLayer) -> Iterator[Candidate]:
    """The layer computed from another endpoint than its own input."""
    for name, load in layer.others.items():
        other = None
        for i, x in enumerate(layer.inputs):
            if other is None:
                other = load()
            if other.shape != x.shape or np.array_equal(other, x):
                continue
            fed = layer.fed(*(other if j == i else y for j, y in enumerate(layer.inputs)))
            which = "" if len(layer.inputs) == 1 else f" for its input {i + 1}"
            text = f"takes {name}{which}"
            fix = words(other="feed it from the layer that the reference feeds it from")
            yield Candidate("wired-otherwise", text, fix, fed, 3)


CONCAT = (branches,)
ADD = (addends,)
FLATTEN = (flattened,)
