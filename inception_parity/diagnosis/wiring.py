"""Mistakes between layers: branches in another order, a layer with the wrong input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations, product

import numpy as np

from .fixes import fix
from .suspect import Array, Candidate, SuspectLayer, distance


def _with_input(layer: SuspectLayer, i: int, array: Array) -> SuspectLayer:
    """Return the layer with one of its inputs exchanged."""
    return layer.fed(*(array if n == i else x for n, x in enumerate(layer.inputs)))


def branches(layer: SuspectLayer) -> Iterator[Candidate]:
    """Branches in another order, one in another's place, interleaved, along another axis."""
    mistake = partial(Candidate, fix=fix(layer, "branches"))
    inputs = layer.inputs
    count = len(inputs)
    orders = permutations(range(count)) if count <= 5 else _swaps(count)
    for order in orders:
        if order == tuple(range(count)):
            continue
        moved = [i for i, j in enumerate(order) if i != j]
        text = f"branches joined in the order {', '.join(str(i + 1) for i in order)}"
        if len(moved) == 2:
            text = f"branches {moved[0] + 1} and {moved[1] + 1} exchanged"
        taken = layer.fed(*(inputs[i] for i in order))
        yield mistake("branch-order", text, taken, 1 if len(moved) == 2 else 2)
    for i, j in product(range(count), repeat=2):
        if i != j and inputs[i].shape == inputs[j].shape:
            text = f"branch {j + 1} twice: in place of branch {i + 1} too"
            yield mistake("branch-repeated", text, _with_input(layer, i, inputs[j]), 2)
    for i, x in enumerate(inputs):
        empty = _with_input(layer, i, np.zeros_like(x))
        yield mistake("branch-missing", f"zeros in place of branch {i + 1}", empty, 2)
    if len({x.shape for x in inputs}) == 1 and count > 1:
        mixed = np.stack(inputs, axis=2).reshape(layer.reference.shape)
        text = "the branches' channels are interleaved, but should follow each other"
        yield mistake("branch-order", text, replace(layer.fed(mixed), kind="output"), 2)


def _swaps(count: int) -> Iterator[tuple[int, ...]]:
    for i in range(count):
        for j in range(i + 1, count):
            order = list(range(count))
            order[i], order[j] = j, i
            yield tuple(order)
    yield tuple(range(count))[::-1]


def addends(layer: SuspectLayer) -> Iterator[Candidate]:
    """A sum that lacks one of its terms, or has one negated or rectified."""
    if len(layer.inputs) < 2:
        return
    mistake = partial(Candidate, fix=fix(layer, "add"))
    rectified = partial(Candidate, "activation-surplus", fix=fix(layer, "relu-after-add"))
    for i, x in enumerate(layer.inputs):
        without = _with_input(layer, i, np.zeros_like(x))
        yield mistake("branch-missing", f"term {i + 1} of the sum is missing", without)
        yield mistake("branch-sign", f"term {i + 1} is subtracted", _with_input(layer, i, -x), 2)
        text = f"a ReLU on term {i + 1} before the sum"
        yield rectified(text, _with_input(layer, i, np.maximum(x, 0)), 2)


def residual_scale(layer: SuspectLayer) -> Iterator[Candidate]:
    """A residual with another factor or none, or a factor on the shortcut."""
    if len(layer.inputs) != 2:
        return
    shortcut, residual = layer.inputs
    scale = float(layer.get("residual_scale"))
    line = fix(layer, "residual-scale", scale=f"{scale:g}")
    mistake = partial(Candidate, "residual-scale", fix=line)
    if scale != 1:
        text = f"the residual isn't scaled, but should be multiplied by {scale:g}"
        yield mistake(text, layer.but(residual_scale=1.0))
        text = f"shortcut and residual exchanged: {scale:g} multiplies the shortcut"
        exchanged = layer.fed(residual, shortcut)
        yield Candidate("shortcut-exchanged", text, exchanged, fix=line)
        text = f"the whole sum is multiplied by {scale:g}, but should be the residual alone"
        yield mistake(text, layer.but(shortcut_scale=scale))
    size = float(np.vdot(residual, residual))
    if not layer.same_shape or shortcut.shape != layer.seen.shape or not size:
        return
    found = float(np.vdot(layer.seen - shortcut, residual)) / size
    if np.isfinite(found) and found != scale:
        shown = f"{found:.12g}"
        text = f"the residual is multiplied by {shown}, but should be by {scale:g}"
        yield mistake(text, layer.but(residual_scale=found), 2)
    both = _factors(shortcut, residual, layer.seen)
    if both is not None:
        text = f"shortcut and residual are multiplied by {both[0]:.12g} and {both[1]:.12g}, "
        text += f"but should be by 1 and {scale:g}"
        changed = layer.but(shortcut_scale=both[0], residual_scale=both[1])
        yield mistake(text, changed, 3)


def _factors(shortcut: Array, residual: Array, seen: Array) -> tuple[float, float] | None:
    """Return the factors of both terms that come nearest to what was observed."""
    if not np.isfinite(seen).all():
        return None
    terms = np.stack([shortcut.reshape(-1), residual.reshape(-1)])
    solved, _, rank, _ = np.linalg.lstsq(terms @ terms.T, terms @ seen.reshape(-1), rcond=None)
    return (float(solved[0]), float(solved[1])) if rank == 2 else None


def flattened(layer: SuspectLayer) -> Iterator[Candidate]:
    """Flattened in another order than C, H, W."""
    if not layer.inputs or layer.inputs[0].ndim != 4:
        return
    mistake = partial(Candidate, "flatten-order", fix=fix(layer, "flatten"))
    for names, order in (("H, W, C", (1, 2, 0)), ("C, W, H", (0, 2, 1)), ("W, H, C", (2, 1, 0)),
                         ("W, C, H", (2, 0, 1)), ("H, C, W", (1, 0, 2))):  # fmt: skip
        text = f"flattened in the order {names}, but should be C, H, W"
        yield mistake(text, layer.but(order=order), 1 if names == "H, W, C" else 2)


def fed_from_elsewhere(layer: SuspectLayer) -> Iterator[Candidate]:
    """The layer computed from another endpoint than its own input, or after a later layer."""
    mistake = partial(Candidate, "wired-otherwise", cost=3, fix=fix(layer, "rewire"))
    for name, load in layer.others.items() if layer.inputs else ():
        other = load()
        for i, x in enumerate(layer.inputs):
            if other.shape == x.shape and not np.array_equal(other, x):
                which = "" if len(layer.inputs) == 1 else f" for its input {i + 1}"
                yield mistake(f"takes {name}{which}", _with_input(layer, i, other))
    mistake = partial(Candidate, "layer-order", cost=3, fix=fix(layer, "rewire"))
    for name, load in layer.later.items():
        other = load()
        if distance(other, layer.seen) <= layer.limit:
            continue  # the layer's own output, passed on: what a ReLU leaves as it is, say
        for i, x in enumerate(layer.inputs):
            if other.shape == x.shape:
                text = f"takes {name}, but should be computed before it"
                yield mistake(text, _with_input(layer, i, other))


CONCAT = (branches,)
ADD = (residual_scale, addends)
FLATTEN = (flattened,)
