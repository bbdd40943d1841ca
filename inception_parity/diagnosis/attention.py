"""Mistakes of attention and of embeddings: masks, scale, heads, projections, rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np

from .fixes import argument, fix
from .suspect import Candidate, SuspectLayer


def masks(layer: SuspectLayer) -> Iterator[Candidate]:
    """A mask that means the opposite, isn't used, or is added; causal or not."""
    *inputs, mask = layer.inputs
    mistake = partial(Candidate, fix=fix(layer, "mask"))
    if len(layer.inputs) == 4 and not layer.get("additive"):
        text = "the mask is inverted: it attends to what it should leave out, and to nothing else"
        yield mistake("mask-inverted", text, layer.fed(*inputs, 1 - mask))
        text = "the mask isn't used"
        yield mistake("mask-unused", text, layer.but(masked=False))
        for sign, of in ((1.0, "where to attend"), (-1.0, "what to leave out")):
            added = layer.fed(*inputs, mask if sign > 0 else 1 - mask).but(additive=True)
            text = f"the mask is added as ones and zeros, ones for {of}"
            yield mistake("mask-added", text, added, 2)
    elif len(layer.inputs) == 4:
        text = "the mask isn't added"
        yield mistake("mask-unused", text, layer.fed(*inputs))
        yield mistake("mask-inverted", "the mask is subtracted", layer.fed(*inputs, -mask), 2)
    causal = bool(layer.get("causal"))
    line = fix(layer, "causal" if causal else "not-causal")
    text = "every step sees those after it, but shouldn't: it should be causal"
    if not causal:
        text = "no step sees those after it, but should: it is causal, and shouldn't be"
    yield Candidate("causal", text, layer.but(causal=not causal), fix=line)
    if causal:
        text = "the causal mask is aligned at the last step, but should be at the first"
        yield Candidate("causal", text, layer.but(aligned_last=True), 2, fix=line)


def scale(layer: SuspectLayer) -> Iterator[Candidate]:
    """Scores not scaled, or by another size; a softmax over the queries."""
    width = layer.inputs[0].shape[-1]
    if layer.kind == "attention":
        size = len(layer.weights["q_weight"]) // int(layer.get("heads"))
    else:
        size = width
    given = layer.get("scale")
    right = size**-0.5 if given is None else float(given)
    line = argument(layer, f"scores times {right:g}")
    known = {
        "aren't scaled": 1.0, f"are divided by {size}": 1 / size,
        f"are divided by the root of {size}": size**-0.5,
        f"are divided by the root of the whole width, {width}": width**-0.5,
        "are multiplied by the root of the size": size**0.5,
    }  # fmt: skip
    for what, value in known.items():
        if abs(value - right) > 1e-12 * right:
            text = f"the scores {what}, but should be multiplied by {right:g}"
            yield Candidate("attention-scale", text, layer.but(scale=value), fix=line)
    text = "the softmax goes over the queries, but should go over the keys"
    line = fix(layer, "as-reference")
    yield Candidate("softmax-axis", text, layer.but(over_queries=True), 2, fix=line)


def fed(layer: SuspectLayer) -> Iterator[Candidate]:
    """Query, key and value exchanged, as inputs or as weights."""
    inputs, rest = layer.inputs[:3], layer.inputs[3:]
    mistake = partial(Candidate, "attention-inputs", fix=fix(layer, "attention-inputs"))
    names = ("query", "key", "value")
    for order in permutations(range(3)):
        if order == (0, 1, 2):
            continue
        said = ", ".join(names[i] for i in order)
        taken = tuple(inputs[i] for i in order)
        if any(a is not b and not np.array_equal(a, b) for a, b in zip(inputs, taken, strict=True)):
            text = f"given {said}, but should be given query, key, value"
            yield mistake(text, layer.fed(*taken, *rest), 1 if order == (0, 2, 1) else 2)
        if layer.kind == "attention":
            parts = {
                f"{'qkv'[i]}_{role}": layer.weights.get(f"{'qkv'[j]}_{role}")
                for i, j in enumerate(order)
                for role in ("weight", "bias")
            }
            text = f"weights of {said} in place of those of query, key, value"
            yield mistake(text, layer.weighing(**parts))


def heads(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another number of heads, or features of a head apart instead of next to each other."""
    right = int(layer.get("heads"))
    mistake = partial(Candidate, "attention-heads", fix=argument(layer, f"{right} heads"))
    text = "features are split as (size, heads), but should be as (heads, size)"
    yield mistake(text, layer.but(interleaved=True))
    width = len(layer.weights["q_weight"])
    order = np.arange(width).reshape(-1, right).T.reshape(-1)
    for roles, of in ((("weight", "bias"), "weights and biases"), (("weight",), "weights")):
        moved = {
            f"{which}_{role}": layer.weights[f"{which}_{role}"][order]
            for which in "qkv"
            for role in roles
            if f"{which}_{role}" in layer.weights
        }
        text = f"{of} of query, key and value are reshaped to (size, heads), but should be to "
        yield mistake(text + "(heads, size)", layer.weighing(**moved), 2)
    for count in range(1, width + 1):
        if width % count == 0 and count != right:
            text = f"{count} heads, but should be {right}"
            yield mistake(text, layer.but(heads=count))


def projections(layer: SuspectLayer) -> Iterator[Candidate]:
    """Biases missing; matrices not transposed; no projection of the output."""
    mistake = partial(Candidate, "attention-weights", fix=fix(layer, "attention-weights"))
    names = {"q": "query", "k": "key", "v": "value", "out": "output"}
    held = [role for role in names if f"{role}_bias" in layer.weights]
    for role in held:
        if role != "k" or len(held) == 1:  # a bias of the keys is the same for all scores
            without = layer.weighing(**{f"{role}_bias": None})
            yield mistake(f"the bias of the {names[role]}'s projection is missing", without)
    if len(held) > 1:
        text = "the biases of query, key and value are missing"
        yield mistake(text, layer.weighing(q_bias=None, k_bias=None, v_bias=None))
        none = layer.weighing(q_bias=None, k_bias=None, v_bias=None, out_bias=None)
        yield mistake("the biases of all projections are missing", none)
    for role, name in names.items():
        array = layer.weights[f"{role}_weight"]
        if array.shape[0] == array.shape[1]:
            turned = layer.weighing(**{f"{role}_weight": array.T})
            yield mistake(f"the {name}'s projection isn't transposed", turned)
    squares = {
        f"{r}_weight": layer.weights[f"{r}_weight"].T for r in names
        if len(set(layer.weights[f"{r}_weight"].shape)) == 1
    }  # fmt: skip
    if len(squares) == 4:
        yield mistake("none of the four projections is transposed", layer.weighing(**squares), 2)


def rows(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another row of an embedding than meant, or its rows scaled."""
    mistake = partial(Candidate, "embedding-row", fix=fix(layer, "embedding-row"))
    for shift in (1, -1, 2, -2):
        text = f"rows {abs(shift)} {'after' if shift > 0 else 'before'} those that are meant"
        yield mistake(text, layer.but(shift=shift), abs(shift))
    table = layer.weights["weight"]
    for row, what in ((0, "the first"), (-1, "the last")):
        changed = table.copy()
        changed[row] = 0
        text = f"{what} row is zeros, as one that is for padding"
        yield mistake(text, layer.weighing(weight=changed))
    root = float(np.sqrt(table.shape[1]))
    line = fix(layer, "no-scaling")
    for factor, what in ((root, "multiplied"), (1 / root, "divided")):
        text = f"rows are {what} by the root of their size, {table.shape[1]}"
        scaled = layer.then("scaled", partial(np.multiply, factor))
        yield Candidate("embedding-scale", text, scaled, fix=line)
    text = "the rows in reverse order"
    yield mistake(text, layer.weighing(weight=table[::-1]), 2)


def without_projections(layer: SuspectLayer) -> Iterator[Candidate]:
    """Values that aren't attended to at all: their mean over all places."""
    text = "every place has the same weight"
    even = replace(layer.but(scale=0.0))
    yield Candidate("attention-scale", text, even, 2, fix=fix(layer, "as-reference"))


ATTENTION = (masks, fed, scale, heads, projections)
CORE = (masks, fed, scale, without_projections)
EMBEDDING = (rows,)
