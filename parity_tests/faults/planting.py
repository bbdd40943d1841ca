"""Faults to plant in a live network: small, named, reversible, in every framework.

Most replace what one layer computes; the stand-in gets the layer's own tensors,
and either wraps the native call or computes in NumPy, in the shared layout.
Others change an attribute or a weight of the live network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from inception_parity.backends import Adapter
from inception_parity.numerics import to_dtype

Array = NDArray[np.float64]
Undo = Callable[[], None]
Pads = tuple[int, int]  # before and after, in both directions


@dataclass(frozen=True)
class Case:
    """A network in which a fault may be planted."""

    batch_norm: bool
    size: int


@dataclass(frozen=True)
class Fault:
    """One mistake.

    `first` is the endpoint that has to be named; with `loader` set, the array
    that has to be named as well.
    """

    name: str
    first: str
    plant: Callable[[Adapter, Any], Undo]
    applies: Callable[[Case], bool] = lambda case: True
    loader: str = ""


# How to get at a live network.


def module_at(backend: Adapter, net: Any, path: str) -> Any:
    return next(module for name, module, _ in backend.modules(net) if name == path)


def override(backend: Adapter, module: Any, stand_in: Callable[..., Any]) -> Undo:
    """Let `stand_in(native call, *tensors)` compute what the module computes."""
    attribute = "call" if backend.name == "tf" else "forward"
    native = getattr(module, attribute)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        return stand_in(lambda *inputs: native(*inputs, **kwargs), *args)

    setattr(module, attribute, replaced)

    def undo() -> None:
        delattr(module, attribute)  # the class's own shows again

    return undo


def in_numpy(path: str, compute: Callable[..., Array]) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: the layer at `path` computes `compute(weights, *inputs)` instead."""

    def plant(backend: Adapter, net: Any) -> Undo:
        weights = {
            name.removeprefix(f"{path}."): array.astype(np.float64)
            for name, array in backend.get_weights(net).items()
            if name.startswith(f"{path}.")
        }

        def stand_in(call: Callable[..., Any], *tensors: Any) -> Any:
            arrays = [backend.to_shared(t).astype(np.float64) for t in tensors]
            return backend.to_native(compute(weights, *arrays), backend.dtype_of(tensors[0]))

        return override(backend, module_at(backend, net, path), stand_in)

    return plant


def on_output(path: str, change: Callable[[Array], Array]) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: the output of the layer at `path` is changed."""

    def plant(backend: Adapter, net: Any) -> Undo:
        def stand_in(call: Callable[..., Any], *tensors: Any) -> Any:
            output = call(*tensors)
            changed = change(backend.to_shared(output).copy())
            return backend.to_native(changed, backend.dtype_of(output))

        return override(backend, module_at(backend, net, path), stand_in)

    return plant


def on_weight(name: str, change: Callable[[Array], Array]) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: one array of the loaded network is changed."""

    def plant(backend: Adapter, net: Any) -> Undo:
        before = backend.get_weights(net)
        after = {**before, name: np.ascontiguousarray(change(before[name].copy()))}
        backend.set_weights(net, after)
        return lambda: backend.set_weights(net, before)

    return plant


# What the stand-ins compute.


def convolve(x: Array, w: dict[str, Array], stride: int, pads: Pads) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), pads, pads))
    windows = sliding_window_view(x, w["weight"].shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    y = np.tensordot(windows, w["weight"], axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    return y + w["bias"][:, None, None] if "bias" in w else y


def pool(
    x: Array, kernel: int, stride: int, pads: Pads, reduce: Any = np.max, fill: float = -np.inf
) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), pads, pads), constant_values=fill)
    windows = sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    return reduce(windows, axis=(-2, -1))


def rounded_convolution(w: dict[str, Array], x: Array) -> Array:
    """A 3x3 convolution, pad 1, in bfloat16 with wide sums."""
    small = {name: to_dtype(array, "bfloat16").astype(np.float64) for name, array in w.items()}
    x = to_dtype(x, "bfloat16").astype(np.float64)
    return to_dtype(convolve(x, small, 1, (1, 1)), "bfloat16").astype(np.float64)


def nudge_one(array: Array) -> Array:
    array.flat[7] *= 1 + 1e-3
    return array


def with_nan(array: Array) -> Array:
    array[0, 1, 0, 2] = np.nan
    return array


def wrong_eps(
    path: str, right: float = 1e-3, wrong: float = 1e-5
) -> Callable[[Adapter, Any], Undo]:
    """Another BN eps, by the framework's own attribute."""

    def plant(backend: Adapter, net: Any) -> Undo:
        norm = module_at(backend, net, path)
        if backend.name == "mx":
            norm._kwargs["eps"] = wrong
            return lambda: norm._kwargs.update(eps=right)
        attribute = "epsilon" if backend.name == "tf" else "eps"
        setattr(norm, attribute, wrong)
        return lambda: setattr(norm, attribute, right)

    return plant


def swapped_branches(backend: Adapter, net: Any) -> Undo:
    """Paths 3 and 4 of the first block, which have 32 channels each."""
    return override(
        backend,
        module_at(backend, net, "b3.0.concat"),
        lambda call, p1, p2, p3, p4: call(p1, p2, p4, p3),
    )


def inlined_activation(backend: Adapter, net: Any) -> Undo:
    """A ReLU that is computed, but by no layer: right values, no endpoint."""
    block = module_at(backend, net, "b3.0.p1_1")

    def stand_in(call: Callable[..., Any], x: Any) -> Any:
        x = block.conv(x)
        x = block.norm(x) if block.norm is not None else x
        return backend.to_native(np.maximum(backend.to_shared(x), 0), backend.dtype_of(x))

    return override(backend, block, stand_in)


def even(case: Case) -> bool:
    return case.size % 2 == 0


def _ceil_differs(case: Case) -> bool:
    """Whether ceil mode adds a row in b2.2, a 3x3/2 pool with padding 1."""
    halved = (case.size + 1) // 2  # after b1.0
    halved = (halved + 1) // 2  # after b1.1
    return halved % 2 == 0


FAULTS = (
    Fault(
        "SAME padding at stride 2",
        "b1.0.conv",
        in_numpy("b1.0.conv", lambda w, x: convolve(x, w, 2, (2, 3))),
        even,
    ),
    Fault(
        "SAME padding in a stride-2 pool",
        "b1.1",
        in_numpy("b1.1", lambda w, x: pool(x, 3, 2, (0, 1))),
        lambda case: (case.size + 1) // 2 % 2 == 0,
    ),
    Fault(
        "BN eps 1e-5 for 1e-3",
        "b3.1.p2_2.norm",
        wrong_eps("b3.1.p2_2.norm"),
        lambda case: case.batch_norm,
    ),
    Fault("swapped branches", "b3.0.concat", swapped_branches),
    Fault(
        "missing ReLU",
        "b3.1.p2_2.act",
        lambda backend, net: override(
            backend, module_at(backend, net, "b3.1.p2_2.act"), lambda call, x: x
        ),
    ),
    Fault(
        "ReLU clipped at 6",
        "b5.1.p4_2.act",
        on_output("b5.1.p4_2.act", lambda y: np.minimum(y, 6.0)),
    ),
    Fault(
        "max pool 2 for 3",
        "b3.0.p4_1",
        in_numpy("b3.0.p4_1", lambda w, x: pool(x, 2, 1, (0, 1))),
    ),
    Fault(
        "average for max",
        "b2.2",
        in_numpy("b2.2", lambda w, x: pool(x, 3, 2, (1, 1), np.mean, 0.0)),
    ),
    Fault(
        "ceil for floor",
        "b2.2",
        in_numpy("b2.2", lambda w, x: pool(x, 3, 2, (1, 2))),
        _ceil_differs,
    ),
    Fault(
        "transposed 3x3 kernel",
        "b2.1.conv",
        on_weight("b2.1.conv.weight", lambda w: w.transpose(0, 1, 3, 2)),
        loader="b2.1.conv.weight",
    ),
    Fault(
        "flipped 3x3 kernel",
        "b3.0.p2_2.conv",
        in_numpy(
            "b3.0.p2_2.conv",
            lambda w, x: convolve(x, {**w, "weight": w["weight"][:, :, ::-1, ::-1]}, 1, (1, 1)),
        ),
    ),
    Fault(
        "shifted bias",
        "b4.0.p3_1.conv",
        on_weight("b4.0.p3_1.conv.bias", lambda b: np.roll(b, 1)),
        loader="b4.0.p3_1.conv.bias",
    ),
    Fault(
        "missing bias",
        "b4.2.p2_1.conv",
        in_numpy("b4.2.p2_1.conv", lambda w, x: convolve(x, {"weight": w["weight"]}, 1, (0, 0))),
    ),
    Fault(
        "one kernel element wrong by 1e-3",
        "b3.0.p2_2.conv",
        on_weight("b3.0.p2_2.conv.weight", nudge_one),
        loader="b3.0.p2_2.conv.weight",
    ),
    Fault(
        "one layer in bfloat16",
        "b3.0.p2_2.conv",
        in_numpy("b3.0.p2_2.conv", rounded_convolution),
    ),
    Fault("NaN in an activation", "b3.0.p1_1.act", on_output("b3.0.p1_1.act", with_nan)),
    Fault("missing endpoint", "b3.0.p1_1.act", inlined_activation),
    Fault("constant output", "b4.3.p3_2.act", on_output("b4.3.p3_2.act", np.zeros_like)),
    Fault("doubled features", "b5.2", on_output("b5.2", lambda y: 2 * y)),
    Fault("rolled classes", "fc", on_output("fc", lambda y: np.roll(y, 1, axis=1))),
)
