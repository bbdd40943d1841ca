"""Mistakes of transposed convolutions, channels moved into the image, lengths, pads, reductions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, product

import numpy as np

from .fixes import argument, fix
from .suspect import Candidate, SuspectLayer


def cut(layer: SuspectLayer) -> Iterator[Candidate]:
    """Cut elsewhere: the same much on other sides, or as much as the observed size needs."""
    right = tuple(tuple(pair) for pair in layer.get("pads"))
    apart = [int(mine) - int(seen) for mine, seen in zip(
        layer.reference.shape[2:], layer.seen.shape[2:], strict=True)]  # fmt: skip
    totals = [sum(pair) + more for pair, more in zip(right, apart, strict=True)]
    mistake = partial(Candidate, "transposed-cut", fix=_cut_fix(layer))
    spans = [range(min(0, total), max(0, total) + 1) for total in totals]
    for befores in product(*spans):
        pads = tuple((b, total - b) for b, total in zip(befores, totals, strict=True))
        if pads == right:
            continue
        even = len(set(pads)) == 1
        text = f"{_said(pads)} of the whole is cut off, but should be {_said(right)}"
        moved = [b - pair[0] for b, pair in zip(befores, right, strict=True)]
        if not any(apart) and len(set(moved)) == 1:
            pixels = "a pixel" if abs(moved[0]) == 1 else f"{abs(moved[0])} pixels"
            text += f": its output is moved by {pixels}"
        yield mistake(text, layer.but(pads=pads), 1 if even else 2)


def _said(pads: tuple[tuple[int, int], ...]) -> str:
    return str(pads[0]) if len(set(pads)) == 1 else str(pads)


def _cut_fix(layer: SuspectLayer) -> str:
    pads = layer.get("pads")
    flat = [side for pair in pads for side in pair]
    onnx = [*flat[::2], *flat[1::2]]
    before, after = pads[0]
    if len(set(pads)) == 1 and before >= after and layer.backend in ("pt", "mx"):
        return fix(layer, "transposed-padding", padding=before, more=before - after)
    return fix(layer, "transposed-cut", sides=_said(tuple(pads)), onnx=onnx)


def kernel(layer: SuspectLayer) -> Iterator[Candidate]:
    """The kernel turned, transposed or with its channels exchanged; no bias."""
    w = layer.weights["weight"]
    mistake = partial(Candidate, fix=fix(layer, "transposed-kernel"))
    turned = layer.weighing(weight=w[:, :, ::-1, ::-1])
    yield mistake("kernel-flipped", "the kernel is turned by 180 degrees", turned)
    if w.shape[2] == w.shape[3]:
        text = "height and width of the kernel exchanged"
        yield mistake("kernel-transposed", text, layer.weighing(weight=w.swapaxes(2, 3)))
    if w.shape[0] == w.shape[1]:
        text = "input and output channels of the kernel exchanged"
        yield mistake("kernel-io", text, layer.weighing(weight=w.swapaxes(0, 1)))
    moved = np.ascontiguousarray(w.transpose(2, 3, 0, 1)).reshape(w.shape)
    text = "the kernel's numbers in the order of another layout: reshaped, not transposed"
    yield mistake("kernel-reshaped", text, layer.weighing(weight=moved), 2)
    if "bias" in layer.weights:
        line = fix(layer, "bias")
        yield Candidate("bias-missing", "no bias", layer.weighing(bias=None), fix=line)


def block_order(layer: SuspectLayer) -> Iterator[Candidate]:
    """Channels and blocks in the other order, or rows and columns of a block exchanged."""
    right = str(layer.get("order"))
    other = "DCR" if right == "CRD" else "CRD"
    names = {"CRD": "channel by channel (c, y, x)", "DCR": "block by block (y, x, c)"}
    line = fix(layer, "order-dcr" if right == "DCR" else "order-crd")
    text = f"channels are counted {names[other]}, but should be {names[right]}"
    yield Candidate("block-order", text, layer.but(order=other), fix=line)
    for order in (right, other):
        turned = replace(layer, inputs=(layer.inputs[0].swapaxes(2, 3),)).but(order=order).then(
            "turned", lambda y: y.swapaxes(2, 3), elementwise=False
        )  # fmt: skip
        text = "rows and columns of every block exchanged"
        said = "" if order == right else f", and channels counted {names[order]}"
        yield Candidate("block-order", text + said, turned, 2, fix=line)


def lengths(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another eps, used in another way, or lengths along other axes."""
    right, rule = float(layer.get("eps") or 0.0), layer.get("rule")
    line = argument(layer, f"eps {right:g}")
    said = {"length": "the length is at least", "square": "the squared length is at least",
            "added": "to the squared length is added"}  # fmt: skip
    for other in said:
        for eps in dict.fromkeys((right, 1e-12, 1e-10, 1e-7, 1e-6, 1e-5, 1e-3, 0.0)):
            if (other, eps) != (rule, right):
                text = f"{said[other]} {eps:g}, but should be: {said[str(rule)]} {right:g}"
                cost = 1 if other == rule or eps == right else 2
                yield Candidate("length-eps", text, layer.but(rule=other, eps=eps), cost, fix=line)
    own = tuple(layer.get("axes") or (1,))
    ndim = layer.inputs[0].ndim
    for count in range(1, ndim + 1):
        for axes in combinations(range(ndim), count):
            if axes != own:
                text = f"lengths along the axes {axes}, but should be along {own}"
                yield Candidate("length-axes", text, layer.but(axes=axes), fix=line)


def other_axes(layer: SuspectLayer) -> Iterator[Candidate]:
    """A reduction over other axes, with axes kept or not, or of another kind."""
    own, keep = tuple(layer.get("axes")), bool(layer.get("keep"))
    mistake = partial(Candidate, fix=fix(layer, "as-reference"))
    ndim = layer.inputs[0].ndim
    for kept in (keep, not keep):
        for count in range(1, ndim + 1):
            for axes in combinations(range(ndim), count):
                if (axes, kept) == (own, keep):
                    continue
                text = f"over the axes {axes}, but should be over {own}" if axes != own else \
                    f"the axes are {'kept' if kept else 'left out'}, but shouldn't be"  # fmt: skip
                yield mistake("reduced-axes", text, layer.but(axes=axes, keep=kept), 1 + (
                    axes != own and kept != keep))  # fmt: skip
    right = layer.get("reduce") or layer.kind
    for reduce in ("mean", "max", "sum"):
        if reduce != right:
            text = f"the {reduce}, but should be the {right}"
            yield mistake("reduced-otherwise", text, layer.but(reduce=reduce))


def pad_mode(layer: SuspectLayer) -> Iterator[Candidate]:
    """Padding that holds something else, or that is on other sides."""
    right, pads = str(layer.get("mode") or "constant"), layer.get("pads")
    what = {"constant": "a constant", "reflect": "the image reflected, without its edge",
            "symmetric": "the image reflected, with its edge", "edge": "its edge repeated",
            "wrap": "its opposite side"}  # fmt: skip
    line = fix(layer, "pad-mode", mode=right)
    for mode, said in what.items():
        if mode != right:
            text = f"the padding holds {said}, but should hold {what[right]}"
            yield Candidate("padding-mode", text, layer.but(mode=mode, fill=0.0), fix=line)
    turned = tuple(tuple(pair[::-1]) for pair in pads)
    for text, other in (
        ("the sides of the padding exchanged: before and after", turned),
        ("the sides of the padding exchanged: height and width", tuple(pads[::-1])),
    ):
        if other != tuple(tuple(pair) for pair in pads):
            yield Candidate("padding", text, layer.but(pads=other), fix=line)
    if right == "constant" and layer.same_shape:
        fill = float(layer.get("fill") or 0.0)
        values, counts = np.unique(layer.seen, return_counts=True)
        common = float(values[np.argmax(counts)])
        if common != fill:
            text = f"the padding holds {common:g}, but should hold {fill:g}"
            yield Candidate("padding-value", text, layer.but(fill=common), fix=line)


TRANSPOSED = (cut, kernel)
BLOCKS = (block_order,)
LENGTH = (lengths,)
REDUCED = (other_axes,)
PAD = (pad_mode,)
