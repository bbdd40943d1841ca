"""Kinds of faults for any layer of any network, each with its cause written by hand.

A kind belongs to a class of layers; `make` looks at the oracle's layer, and returns
what to plant there, or None where the fault makes no sense. Weights, eps, modes and
order are changed in the live framework; the rest is computed wrongly in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from inception_np import pools
from inception_np.layers import LocalResponseNorm
from inception_parity.backends import Adapter
from inception_parity.numerics import to_dtype

from .mistakes import convolve, pooled, row
from .planting import Undo, in_numpy, module_at, on_output, on_weight, override, wrong_eps

Plant = Callable[[Adapter, Any], Undo]
Make = Callable[["Place"], Plant | None]


@dataclass(frozen=True)
class Place:
    """A layer of the oracle's network, and what is drawn for it."""

    path: str
    layer: Any
    rng: np.random.Generator
    shapes: dict[str, tuple[int, ...]]  # of all endpoints
    inputs: dict[str, tuple[str, ...]]  # of all endpoints
    feeds: dict[str, str]  # what the layer after it is, by class name; "" for none

    @property
    def fed(self) -> tuple[int, ...]:
        """Shape of the (first) input."""
        return self.shapes[self.inputs[self.path][0]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: where it can be, and which causes may be named for it."""

    name: str
    layer: str  # class name of the oracle's layer; or `network`, `input`
    causes: tuple[str, ...]
    make: Make


def pads_of(layer: Any) -> Any:
    (top, left) = layer.padding
    return (top, top), (left, left)


def square(layer: Any) -> bool:
    return layer.kernel_size[0] == layer.kernel_size[1] > 1


def conv_as(place: Place, pads: Any = None, change: Callable[[Any], Any] = lambda w: w,
            stride: int | None = None, **how: Any) -> Plant:  # fmt: skip
    """The convolution with other padding, or another kernel, in NumPy."""
    layer = place.layer
    pads = pads_of(layer) if pads is None else pads
    step = layer.stride[0] if stride is None else stride

    def compute(w: dict[str, Any], x: Any) -> Any:
        return convolve(x, change(w["weight"]), w.get("bias"), step, pads, **how)

    return in_numpy(place.path, compute)


def same_of(place: Place) -> Any:
    sides = []
    for n, k, s in zip(place.fed[2:], place.layer.kernel_size, place.layer.stride, strict=True):
        zeros = max((-(-n // s) - 1) * s + k - n, 0)
        sides.append((zeros // 2, zeros - zeros // 2))
    return tuple(sides)


def same_padding(place: Place) -> Plant | None:
    same = same_of(place)
    if same == pads_of(place.layer):
        return None
    if hasattr(place.layer, "weight"):
        return conv_as(place, same)
    kernel, stride = place.layer.kernel_size[0], place.layer.stride[0]
    return in_numpy(place.path, lambda w, x: pooled(x, kernel, stride, same, np.max, -np.inf))


def padded_to(before: int, after: int) -> Make:
    """Padding moved to one side: `before` and `after` in units of the right one."""

    def make(place: Place) -> Plant | None:
        (top, _), (left, _) = pads_of(place.layer)
        if not top + left:
            return None
        return conv_as(place, ((before * top, after * top), (before * left, after * left)))

    return make


def padding_mode(mode: str, value: float = 0.0) -> Make:
    def make(place: Place) -> Plant | None:
        if not any(place.layer.padding):
            return None
        if mode == "reflect" and min(place.fed[2:]) <= max(place.layer.padding):
            return None
        return conv_as(place, mode=mode, value=value)

    return make


def dilated(place: Place) -> Plant | None:
    if max(place.layer.kernel_size) == 1 or not any(place.layer.padding):
        return None
    pads = tuple((2 * a, 2 * b) for a, b in pads_of(place.layer))
    return conv_as(place, pads, step=2)


def late(place: Place) -> Plant | None:
    if place.layer.stride != (2, 2) or any(place.layer.padding):
        return None
    path = place.path
    return in_numpy(path, lambda w, x: convolve(x[:, :, 1:, 1:], w["weight"], w.get("bias"), 2))


def kernel(change: Callable[[Any], Any], fits: Callable[[Any], bool] = square) -> Make:
    """The loaded kernel changed, in the framework."""

    def make(place: Place) -> Plant | None:
        if not fits(place.layer) or change(place.layer.weight).shape != place.layer.weight.shape:
            return None
        return on_weight(f"{place.path}.weight", change)

    return make


def turned_sides(place: Place) -> Plant | None:
    if square(place.layer) or place.layer.kernel_size == (1, 1):
        return None
    (top, left) = place.layer.padding
    return conv_as(place, ((left, left), (top, top)), lambda w: w.swapaxes(2, 3))


def channels(change: Callable[[Any], Any]) -> Make:
    return lambda place: on_output(place.path, change)


def any_layer(layer: Any) -> bool:
    return True


def array(name: str, change: Callable[[Any], Any]) -> Make:
    """An array of the layer changed, in the framework."""

    def make(place: Place) -> Plant | None:
        if getattr(place.layer, name, None) is None:
            return None
        return on_weight(f"{place.path}.{name}", change)

    return make


def arrays(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Make:
    """Several arrays of the layer changed at once, in the framework."""

    def make(place: Place) -> Plant | None:
        def plant(backend: Adapter, net: Any) -> Undo:
            before = backend.get_weights(net)
            own = {k: before[f"{place.path}.{k}"] for k in place.layer.arrays()}
            changed = {f"{place.path}.{k}": a for k, a in change(own).items()}
            backend.set_weights(net, {**before, **changed})
            return lambda: backend.set_weights(net, before)

        return plant

    return make


def nudged(place: Place) -> Plant:
    at = int(place.rng.integers(place.layer.weight.size))

    def change(w: Any) -> Any:
        w.flat[at] += 1e-3 * np.abs(w).max()
        return w

    return on_weight(f"{place.path}.weight", change)


def nudged_bias(place: Place) -> Plant | None:
    if place.layer.bias is None:
        return None
    at = int(place.rng.integers(place.layer.bias.size))

    def change(b: Any) -> Any:
        b[at] += 1e-3
        return b

    return on_weight(f"{place.path}.bias", change)


def other_seed(place: Place) -> Plant:
    values = place.rng.standard_normal(place.layer.weight.shape) * place.layer.weight.std()
    return on_weight(f"{place.path}.weight", lambda w: values.astype(w.dtype))


def rounded(dtype: str) -> Callable[[Any], Any]:
    return lambda a: to_dtype(a, dtype).astype(np.float64)


def narrow(dtype: str) -> Make:
    """A layer whose input, weights and output are rounded; float32 also adds in float32."""

    def make(place: Place) -> Plant:
        short = rounded(dtype)
        pads, step = pads_of(place.layer), place.layer.stride[0]

        def compute(w: dict[str, Any], x: Any) -> Any:
            few = {k: short(a) for k, a in w.items()}
            if dtype == "float32":
                few = {k: a.astype(np.float32) for k, a in few.items()}
                return convolve(x.astype(np.float32), few["weight"], few.get("bias"), step, pads)
            return short(convolve(short(x), few["weight"], few.get("bias"), step, pads))

        return in_numpy(place.path, compute)

    return make


def then_relu(place: Place) -> Plant | None:
    # Before another ReLU it would change nothing.
    if place.feeds.get(place.path) not in ("BatchNorm2d", ""):
        return None
    return on_output(place.path, lambda y: np.maximum(y, 0))


def rewired(place: Place) -> Plant | None:
    """Fed from another endpoint of the same shape that comes before it."""
    names = list(place.shapes)
    own = place.inputs[place.path][0]
    earlier = names[: names.index(place.path)]
    others = [n for n in earlier if place.shapes[n] == place.shapes[own] and n != own]
    others = [n for n in others if place.feeds.get(n) is not None]
    if not others:
        return None
    source = others[int(place.rng.integers(len(others)))]

    def plant(backend: Adapter, net: Any) -> Undo:
        seen: list[Any] = []

        def remember(call: Callable[..., Any], *xs: Any) -> Any:
            seen[:] = [call(*xs)]
            return seen[0]

        undo = ExitStack()
        undo.callback(override(backend, module_at(backend, net, source), remember))
        target = module_at(backend, net, place.path)
        undo.callback(override(backend, target, lambda call, *xs: call(seen[0])))
        return undo.close

    return plant


# Batch norm.


def eps_to(change: Callable[[float], float]) -> Make:
    def make(place: Place) -> Plant:
        return wrong_eps(place.path, place.layer.eps, change(place.layer.eps))

    return make


def normed(eps_outside: bool = False, rooted: bool = False) -> Make:
    def make(place: Place) -> Plant:
        eps = place.layer.eps

        def compute(w: dict[str, Any], x: Any) -> Any:
            v = {k: np.reshape(a, (-1, 1, 1)) for k, a in w.items()}
            var = v["running_var"]
            root = np.sqrt(var) + eps if eps_outside else np.sqrt(var + eps)
            root = np.sqrt(np.sqrt(var) + eps) if rooted else root
            return (x - v["running_mean"]) / root * v.get("weight", 1.0) + v["bias"]

        return in_numpy(place.path, compute)

    return make


def in_training(place: Place) -> Plant:
    """Batch norm with the batch's statistics, which the framework itself computes where it can."""

    def plant(backend: Adapter, net: Any) -> Undo:
        norm = module_at(backend, net, place.path)
        if backend.name == "pt":
            before = {k: v.clone() for k, v in norm.state_dict().items()}
            norm.train()

            def undo() -> None:
                norm.eval()
                norm.load_state_dict(before)

            return undo

        def compute(w: dict[str, Any], x: Any) -> Any:
            mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
            weight = np.reshape(w.get("weight", 1.0), (-1, 1, 1))
            y = (x - mean) / np.sqrt(var + place.layer.eps) * weight
            return y + np.reshape(w["bias"], (-1, 1, 1))

        return in_numpy(place.path, compute)(backend, net)

    return plant


def both_plants(*makes: Make) -> Make:
    def make(place: Place) -> Plant | None:
        plants = [m(place) for m in makes]
        if any(p is None for p in plants):
            return None

        def plant(backend: Adapter, net: Any) -> Undo:
            undo = ExitStack()
            for one in plants:
                assert one is not None
                undo.callback(one(backend, net))
            return undo.close

        return plant

    return make


# Activations, pools, the rest.


def identity(place: Place) -> Plant | None:
    if len(place.inputs[place.path]) != 1:
        return None
    return lambda backend, net: override(
        backend, module_at(backend, net, place.path), lambda call, x: x
    )


def on_input(compute: Callable[[Any], Any]) -> Make:
    return lambda place: in_numpy(place.path, lambda w, x: compute(x))


def drop(p: float, whole: bool = False) -> Make:
    def make(place: Place) -> Plant:
        def change(y: Any) -> Any:
            shape = (*y.shape[:2], 1, 1) if whole and y.ndim == 4 else y.shape
            return y * (np.random.default_rng(5).random(shape) >= p) / (1 - p)

        return on_output(place.path, change)

    return make


def pool_as(change: Callable[[Any], Callable[[Any], Any] | None]) -> Make:
    """Another pool, made from the right one."""

    def make(place: Place) -> Plant | None:
        try:
            other = change(place.layer)
        except ValueError:
            return None
        if other is None:
            return None
        return in_numpy(place.path, lambda w, x: other(x))

    return make


def _average(layer: Any) -> Any:
    return pools.AvgPool(layer.kernel_size, layer.stride, layer.padding, count_include_pad=True)


def _ceil(layer: Any) -> Any:
    return pools.MaxPool(layer.kernel_size, layer.stride, layer.padding, not layer.ceil_mode)


def _narrower(layer: Any) -> Any:
    if layer.kernel_size != (3, 3) or layer.ceil_mode:
        return None
    return lambda x: pooled(x, 2, layer.stride[0], ((0, 1), (0, 1)), np.max, -np.inf)


def _counted(layer: Any) -> Any:
    return pools.AvgPool(
        layer.kernel_size, layer.stride, layer.padding,
        count_include_pad=not layer.count_include_pad,
    ) if any(layer.padding) else None  # fmt: skip


def _maximum(layer: Any) -> Any:
    return pools.MaxPool(layer.kernel_size, layer.stride, layer.padding)


def _wide(layer: Any) -> Any:
    if layer.kernel_size != (3, 3) or layer.padding != (1, 1):
        return None
    return pools.AvgPool(5, 1, 2, count_include_pad=layer.count_include_pad)


def _sum(layer: Any) -> Any:
    (k, _), (s, _) = layer.kernel_size, layer.stride
    return lambda x: pooled(x, k, s, pads_of(layer), np.sum, 0.0)


def _fixed(layer: Any) -> Any:
    def compute(x: Any) -> Any:
        (n, _), side = layer.output_size, x.shape[2]
        step = side // n
        kernel_size = side - (n - 1) * step
        return pooled(x, kernel_size, step, ((0, 0), (0, 0)), np.mean, 0.0)

    return compute


def joined(order: Callable[[int, np.random.Generator], Any]) -> Make:
    """Branches in another order, of those that can be exchanged."""

    def make(place: Place) -> Plant | None:
        names = place.inputs[place.path]
        chosen = order(len(names), place.rng)
        if len({place.shapes[names[i]] for i, j in enumerate(chosen) if i != j}) < 1:
            return None
        return lambda backend, net: override(
            backend, module_at(backend, net, place.path),
            lambda call, *xs: call(*(xs[i] for i in chosen)),
        )  # fmt: skip

    return make


def exchanged(count: int, rng: np.random.Generator) -> list[int]:
    order = list(range(count))
    i, j = rng.choice(count, 2, replace=False)
    order[i], order[j] = order[j], order[i]
    return order


def twice(place: Place) -> Plant | None:
    shapes = [place.shapes[n] for n in place.inputs[place.path]]
    equal = [(i, j) for i in range(len(shapes)) for j in range(len(shapes))
             if i != j and shapes[i] == shapes[j]]  # fmt: skip
    if not equal:
        return None
    i, j = equal[int(place.rng.integers(len(equal)))]
    return lambda backend, net: override(
        backend, module_at(backend, net, place.path),
        lambda call, *xs: call(*(xs[j] if n == i else x for n, x in enumerate(xs))),
    )  # fmt: skip


def without_one(place: Place) -> Plant:
    gone = int(place.rng.integers(len(place.inputs[place.path])))
    return lambda backend, net: override(
        backend, module_at(backend, net, place.path),
        lambda call, *xs: call(*(0 * x if n == gone else x for n, x in enumerate(xs))),
    )  # fmt: skip


def hwc(place: Place) -> Plant | None:
    n, c, h, w = place.fed
    if h * w == 1:
        return None
    return in_numpy(place.path, lambda _, x: x.transpose(0, 2, 3, 1).reshape(n, c * h * w))


def hwc_kernel(place: Place) -> Plant | None:
    source = place.inputs[place.path][0]
    while len(place.shapes[source]) == 2:
        if "flatten" not in source and "dropout" not in source:
            return None
        source = place.inputs[source][0]
    _, c, h, w = place.shapes[source]
    if h * w == 1:
        return None

    def change(kernel_: Any) -> Any:
        grid = kernel_.reshape(-1, h, w, c)
        return grid.transpose(0, 3, 1, 2).reshape(kernel_.shape)

    return on_weight(f"{place.path}.weight", change)


def local(**others: Any) -> Make:
    def make(place: Place) -> Plant:
        layer = place.layer
        right = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "k": layer.k}
        changed = {k: v(right[k]) if callable(v) else v for k, v in others.items()}
        other = LocalResponseNorm(**{**right, **changed})
        return in_numpy(place.path, lambda w, x: other(x))

    return make


def softmax(y: Any) -> Any:
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def only_scaled(place: Place) -> Plant:
    return in_numpy(place.path, lambda w, x: x * row(*place.layer.scale))


def swapped_heads(place: Place) -> Plant | None:
    if "aux1_logits" not in place.shapes:
        return None

    def stand_in(call: Callable[..., Any], x: Any) -> Any:
        logits, aux2, aux1 = call(x)
        return logits, aux1, aux2

    return lambda backend, net: override(backend, module_at(backend, net, ""), stand_in)


def some_nan(y: Any) -> Any:
    y[0, 0, 0, 0] = np.nan
    return y


def inlined(place: Place) -> Plant | None:
    """The activation of a block computed, or left out, by the block itself."""
    block, _, name = place.path.rpartition(".")
    if name != "act":
        return None
    return _block(block, lambda a: np.maximum(a, 0))


def left_out(place: Place) -> Plant | None:
    block, _, name = place.path.rpartition(".")
    return _block(block, lambda a: a) if name == "act" else None


def _block(path: str, activation: Callable[[Any], Any]) -> Plant:
    def plant(backend: Adapter, net: Any) -> Undo:
        block = module_at(backend, net, path)

        def stand_in(call: Callable[..., Any], x: Any) -> Any:
            x = block.conv(x)
            x = block.norm(x) if block.norm is not None else x
            return backend.to_native(activation(backend.to_shared(x).copy()), backend.dtype_of(x))

        return override(backend, block, stand_in)

    return plant
