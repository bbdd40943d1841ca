"""Mistakes of convolutions and dense layers: kernels, biases, single numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np

from .arrays import padded, window_views
from .fixes import argument, fix
from .forward import residual
from .suspect import Array, Candidate, SuspectLayer


def _load_kernel(layer: SuspectLayer) -> str:
    return fix(layer, "kernel" if layer.weights["weight"].ndim == 4 else "dense-kernel")


def kernel_axes(layer: SuspectLayer) -> Iterator[Candidate]:
    """Flipped, turned, axes exchanged, or the bytes of another layout."""
    w = layer.weights["weight"]
    if w.ndim == 2:
        yield from _dense_axes(layer, w)
        return
    height, width = w.shape[2:]

    def changed(cause: str, text: str, array: Array, cost: int = 1) -> Candidate:
        return Candidate(cause, text, layer.weighing(weight=array), cost, fix=_load_kernel(layer))

    if height * width > 1:
        flipped = "the kernel flipped, as a true convolution has it; should be a cross-correlation"
        yield changed("kernel-flipped", flipped, w[:, :, ::-1, ::-1])
        if height > 1 and width > 1:
            yield changed("kernel-flipped", "the kernel upside down", w[:, :, ::-1], 2)
            yield changed("kernel-flipped", "the kernel mirrored", w[:, :, :, ::-1], 2)
        if height == width:
            turned = "height and width of the kernel exchanged"
            yield changed("kernel-transposed", turned, w.swapaxes(2, 3))
            text = "the kernel turned by a quarter"
            for k in (1, 3):
                yield changed("kernel-transposed", text, np.rot90(w, k, (2, 3)), 2)
        else:
            text = f"{width}x{height} instead of {height}x{width}: height and width exchanged"
            across = changed("kernel-transposed", text, w.swapaxes(2, 3))
            pads, stride = layer.get("pads")[::-1], layer.get("stride")[::-1]
            yield replace(across, layer=across.layer.but(pads=pads, stride=stride))
    if w.shape[0] == w.shape[1]:
        text = "input and output channels of the kernel exchanged"
        yield changed("kernel-io", text, w.swapaxes(0, 1))
    reshaped = "the kernel's numbers in the order of another layout: reshaped, not transposed"
    for order in ((2, 3, 1, 0), (0, 2, 3, 1)):
        yield changed("kernel-reshaped", reshaped, w.transpose(order).reshape(w.shape), 2)
        back = w.reshape([w.shape[i] for i in order]).transpose(np.argsort(order))
        yield changed("kernel-reshaped", reshaped, back, 2)


def _dense_axes(layer: SuspectLayer, w: Array) -> Iterator[Candidate]:
    if w.shape[0] == w.shape[1]:
        text = "the kernel transposed: (in, out) taken for (out, in)"
        arrays, cost = [w.T], 1
    else:
        text = "the kernel's numbers in the order (in, out): reshaped, not transposed"
        arrays, cost = [w.T.reshape(w.shape), w.reshape(w.shape[::-1]).T], 2
    for array in arrays:
        changed = layer.weighing(weight=array)
        yield Candidate("dense-transposed", text, changed, cost, fix=_load_kernel(layer))


def input_channels(layer: SuspectLayer) -> Iterator[Candidate]:
    """Input channels in another order."""
    w = layer.weights["weight"]
    count = w.shape[1]
    if count < 2 or layer.get("groups") != 1:
        return
    orders: dict[tuple[int, ...], str] = {tuple(range(count))[::-1]: "reversed"}
    if count <= 4:
        orders.update({p: f"as {list(p)}" for p in permutations(range(count)) if p not in orders})
    else:
        for by in (1, count - 1):
            orders[tuple(np.roll(range(count), by))] = "rolled by one"
    orders.pop(tuple(range(count)), None)
    for order, what in orders.items():
        bgr = count == 3 and w.ndim == 4 and what == "reversed"
        text = f"input channels {what}{' (BGR for RGB)' if bgr else ''}"
        cost = 1 if what == "reversed" and count <= 4 else 2
        taken = layer.weighing(weight=w[:, list(order)])
        line = fix(layer, "rgb") if bgr else _load_kernel(layer)
        yield Candidate("channel-order", text, taken, cost, fix=line)


def flatten_order(layer: SuspectLayer) -> Iterator[Candidate]:
    """A dense layer whose input was flattened in a different order than its kernel expects."""
    mistake = partial(Candidate, "flatten-order", fix=fix(layer, "flatten-for-dense"))
    w = layer.weights["weight"]
    features = w.shape[1]
    grids = [tuple(layer.get("grid"))] if layer.get("grid") else []
    sides = [s for s in range(2, 17) if features % s**2 == 0 and features > s**2]
    grids += [(features // s**2, s, s) for s in sides]
    for number, (c, h, x) in enumerate(dict.fromkeys(grids)):
        if h * x == 1:
            continue
        for names, order in (("H, W, C", (1, 2, 0)), ("W, H, C", (2, 1, 0)),
                             ("C, W, H", (0, 2, 1))):  # fmt: skip
            # Where each feature of the other order comes from.
            source = np.arange(features).reshape(c, h, x).transpose(order).reshape(-1)
            text = f"flattened in the order {names} ({c}x{h}x{x}), but should be C, H, W"
            taken = np.empty_like(w)
            taken[:, source] = w  # w's column i meets what lies at i in the other order
            known = 1 if number == 0 and layer.get("grid") else 2
            yield mistake(text, layer.weighing(weight=taken), known)
            text = f"the kernel's columns in the order {names}, its input in the order C, H, W"
            yield mistake(text, layer.weighing(weight=w[:, source]), known + 1)


def bias(layer: SuspectLayer) -> Iterator[Candidate]:
    """The bias is missing, doubled, shifted, or another one."""

    def mistake(cause: str, text: str, array: Array | None, cost: int = 1) -> Candidate:
        return Candidate(cause, text, layer.weighing(bias=array), cost, fix=fix(layer, "bias"))

    b = layer.weights.get("bias")
    if b is not None and b.any():
        yield mistake("bias-missing", "no bias is added", None)
        yield mistake("bias-doubled", "the bias is added twice", 2 * b)
    found = _constant_shift(layer)
    if found is None:
        return
    b = np.zeros(len(layer.weights["weight"])) if b is None else b
    found = found + b
    near = 1e-9 * np.abs(b).max(initial=1e-300)  # found from outputs that may be far larger
    moved = np.flatnonzero(np.abs(found - b) > near)
    if np.allclose(np.sort(found), np.sort(b), rtol=0, atol=near):
        by = [s for s in range(1, len(b)) if np.allclose(np.roll(b, s), found, rtol=0, atol=near)]
        if by:
            yield mistake("bias-order", f"the bias shifted by {by[0]}", np.roll(b, by[0]), 2)
        else:
            yield mistake("bias-order", "the bias in another order", found, 2)
    elif len(moved) == 1:
        i = int(moved[0])
        text = f"bias[{i}] is {found[i]:.6g}, but should be {b[i]:.6g}"
        yield mistake("one-bias", text, found, 3)
    else:
        text = f"another bias: {len(moved)} of {len(b)} values are not those given"
        yield mistake("bias-other", text, found, 6)


def _constant_shift(layer: SuspectLayer) -> Array | None:
    """Return what was added to each channel, if it was the same everywhere."""
    shift = residual(layer)
    axes = (0, *range(2, shift.ndim))
    mean: Array = shift.mean(axis=axes)
    spread = np.abs(shift - mean.reshape((1, -1) + (1,) * (shift.ndim - 2))).max()
    return mean if spread <= layer.rough * np.abs(layer.reference).max() else None


def scaled(layer: SuspectLayer) -> Iterator[Candidate]:
    """The kernel times a number: zero, weight scaling, standardisation."""
    w, b = layer.weights["weight"], layer.weights.get("bias")
    mistake = partial(Candidate, fix=_load_kernel(layer))
    zero = layer.weighing(weight=np.zeros_like(w))
    yield mistake("weights-zero", "the kernel is all zeros", zero, 2)
    shape = (1, -1) + (1,) * (layer.reference.ndim - 2)
    offset = 0.0 if b is None else b.reshape(shape)
    seen = layer.seen - offset
    clean = seen - residual(layer)
    size = float(np.vdot(clean, clean))
    factor = float(np.vdot(clean, seen)) / size if size else 0.0
    if factor and np.isfinite(factor) and abs(factor - 1) > 1e-12:
        text = f"the kernel times {factor:.6g}"
        yield mistake("weights-scaled", text, layer.weighing(weight=factor * w), 3)


def one_weight(layer: SuspectLayer) -> Iterator[Candidate]:
    """A few single numbers of the kernel are wrong: found by the inputs that they multiply."""
    if layer.get("groups") != 1:
        return
    left = residual(layer)
    axes = (0, *range(2, left.ndim))
    sizes = np.sqrt((left**2).sum(axis=axes))
    # Rounding leaves something in every channel; a changed number far more.
    wrong = np.flatnonzero(sizes > max(1e-3 * sizes.max(), 1e3 * np.median(sizes)))
    if not 1 <= len(wrong) <= 4 or not np.isfinite(sizes).all():
        return
    w = np.array(layer.weights["weight"])
    said = []
    for o in wrong:
        at, change = _matching_tap(layer, left[:, o])
        if at is None:
            return
        index = (int(o), *at)
        said.append(f"weight{list(index)} is {w[index] + change:.8g}, but should be {w[index]:.8g}")
        w[index] += change
    changed, line = layer.weighing(weight=w), _load_kernel(layer)
    yield Candidate("one-weight", "; ".join(said), changed, 2 + len(wrong), fix=line)


def _matching_tap(layer: SuspectLayer, left: Array) -> tuple[tuple[int, ...] | None, float]:
    """Return the input, or (input, row, column) of the kernel, whose input explains `left`."""
    best: tuple[float, tuple[int, ...] | None, float] = (1e-6, None, 0.0)
    power = float(np.vdot(left, left))
    for at, seen in _taps(layer):
        axes = (0, *range(2, seen.ndim))
        along = (seen * np.expand_dims(left, 1)).sum(axis=axes)
        size = (seen**2).sum(axis=axes)
        with np.errstate(divide="ignore", invalid="ignore"):
            unlike = np.nan_to_num(1 - along**2 / (size * power), nan=1.0)
        i = int(unlike.argmin())
        if unlike[i] < best[0]:
            best = float(unlike[i]), (i, *at), float(along[i] / size[i])
    return best[1], best[2]


def _taps(layer: SuspectLayer) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yield, for every place of the kernel, what it is multiplied with: (N, I, …)."""
    if layer.kind == "dense":
        yield (), layer.inputs[0]
    else:
        yield from window_views(layer, padded(layer, layer.inputs[0], 0.0))


def other_weights(layer: SuspectLayer) -> Iterator[Candidate]:
    """The right layer with other weights, if there are enough outputs to solve for them."""
    w, b = layer.weights["weight"], layer.weights.get("bias")
    unknowns = w[0].size + 1
    rows = layer.seen.size // layer.seen.shape[1]
    if not layer.same_shape or layer.get("groups") != 1 or rows < 1.2 * unknowns:
        return
    if unknowns > 1200 or not np.isfinite(layer.seen).all():
        return
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(rows)[: 2 * unknowns + 50])
    columns = [np.moveaxis(seen, 1, -1).reshape(rows, -1)[chosen] for _, seen in _taps(layer)]
    matrix = np.concatenate([np.stack(columns, axis=2).reshape(len(chosen), -1),
                             np.ones((len(chosen), 1))], axis=1)  # fmt: skip
    seen = np.moveaxis(layer.seen, 1, -1).reshape(rows, -1)[chosen]
    solved, _, rank, _ = np.linalg.lstsq(matrix, seen, rcond=None)
    if rank < unknowns:
        return
    kernel = np.ascontiguousarray(solved[:-1].T).reshape(w.shape)
    changed = int((np.abs(kernel - w) > 1e-6 * np.abs(w).max()).sum())
    far = float(np.linalg.norm(kernel - w) / np.linalg.norm(w))
    text = (
        f"the right layer, but not the weights given: {changed} of {w.size} differ, "
        f"by {far:.1e} in all"
    )
    other = layer.weighing(weight=kernel, bias=solved[-1])
    limit = max(layer.limit, 1e-8)  # of the solver, whose matrix may be poorly conditioned
    if b is None and np.abs(solved[-1]).max() > 1e-6:
        text += "; and a bias"
    yield Candidate("other-weights", text, other, 10, fix=_load_kernel(layer), limit=limit)


def held(layer: SuspectLayer) -> Iterator[Candidate]:
    """The weights read back from the network: no guess, but no cause either."""
    if layer.held:
        names = ", ".join(layer.held)
        far = max(
            float(np.linalg.norm(a - layer.weights[n])) / (float(np.linalg.norm(a)) or 1.0)
            for n, a in layer.held.items()
        )
        text = f"other numbers than those given are in its {names} (by {far:.1e})"
        line = fix(layer, "reload") if layer.kind == "norm" else _load_kernel(layer)
        yield Candidate("other-weights", text, layer.weighing(**layer.held), 7, fix=line,
                        evidence="read back from the network")  # fmt: skip


def groups(layer: SuspectLayer) -> Iterator[Candidate]:
    """Depthwise or grouped kernels whose output channels are in another order."""
    count = int(layer.get("groups"))
    w = layer.weights["weight"]
    if count == 1 or len(w) == count:
        return
    order = np.arange(len(w)).reshape(count, -1).T.reshape(-1)
    text = f"the {count} groups' output channels are interleaved"
    line = argument(layer, f"groups {count}, one group's channels after the other's")
    yield Candidate("channel-order", text, layer.weighing(weight=w[order]), 2, fix=line)


CONVOLUTION = (
    kernel_axes, input_channels, groups, bias, scaled, one_weight, held,
    other_weights,
)  # fmt: skip
DENSE = (kernel_axes, flatten_order, input_channels, bias, scaled, one_weight, held, other_weights)
