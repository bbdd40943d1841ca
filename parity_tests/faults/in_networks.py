"""Faults that only the networks with heads, other pools and norms can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from inception_np.layers import LocalResponseNorm, ScaledAdd
from inception_np.pools import AvgPool, MaxPool
from inception_parity.backends import Adapter

from .planting import (
    Array,
    Fault,
    Undo,
    convolve,
    in_numpy,
    module_at,
    nudge_one,
    on_output,
    on_weight,
    override,
    wrong_eps,
)

Options = dict[str, Any]

narrow_pool = AvgPool(5, 2, count_include_pad=True)


def instead(path: str, layer: Callable[..., Array]) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: a layer of the oracle's kind, with other arguments, in place of one."""
    return in_numpy(path, lambda weights, *xs: layer(*xs))


def no_relu(path: str) -> Fault:
    return Fault(
        "missing ReLU",
        path,
        lambda backend, net: override(backend, module_at(backend, net, path), lambda call, x: x),
    )


def swapped_inputs(path: str, order: tuple[int, ...]) -> Fault:
    """A concatenation of branches in another order; swapped ones have equal channels."""
    return Fault(
        "swapped branches",
        path,
        lambda backend, net: override(
            backend, module_at(backend, net, path), lambda call, *xs: call(*(xs[i] for i in order))
        ),
    )


def exchanged_eps(path: str, right: float, wrong: float) -> Fault:
    return Fault(f"BN eps {wrong:g} for {right:g}", path, wrong_eps(path, right, wrong))


def active_dropout(path: str, p: float) -> Fault:
    def drop(y: Array) -> Array:
        kept = np.random.default_rng(0).random(y.shape) >= p
        return y * kept / (1 - p)

    return Fault("dropout active in inference", path, on_output(path, drop))


def flattened_as_hwc(path: str, channels: int) -> Fault:
    def reorder(y: Array) -> Array:
        side = int(np.sqrt(y.shape[1] // channels))
        grid = y.reshape(len(y), channels, side, side)
        return grid.transpose(0, 2, 3, 1).reshape(y.shape)

    return Fault("flatten in the order H, W, C", path, on_output(path, reorder))


def exchanged_sides(path: str) -> Fault:
    """A 1x7 convolution computed as a 7x1 one."""

    def compute(w: dict[str, Array], x: Array) -> Array:
        turned = {**w, "weight": w["weight"].transpose(0, 1, 3, 2)}
        padded = np.pad(x, ((0, 0), (0, 0), (3, 3), (0, 0)))
        return convolve(padded, turned, 1, (0, 0))

    return Fault("7x1 for 1x7", path, in_numpy(path, compute))


def swapped_heads(backend: Adapter, net: Any) -> Undo:
    def stand_in(call: Callable[..., Any], x: Any) -> Any:
        logits, aux2, aux1 = call(x)
        return logits, aux1, aux2

    return override(backend, module_at(backend, net, ""), stand_in)


def head_from(source: str, head: str) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: the head at `head` gets the output of the block at `source`."""

    def plant(backend: Adapter, net: Any) -> Undo:
        seen: list[Any] = []

        def remember(call: Callable[..., Any], *xs: Any) -> Any:
            seen[:] = [call(*xs)]
            return seen[0]

        undo_source = override(backend, module_at(backend, net, source), remember)
        undo_head = override(backend, module_at(backend, net, head), lambda call, x: call(seen[0]))

        def undo() -> None:
            undo_source()
            undo_head()

        return undo

    return plant


def biased(name: str) -> Fault:
    return Fault(
        "shifted bias",
        name.rpartition(".")[0],
        on_weight(name, lambda b: np.roll(b, 1)),
        loader=name,
    )


def nudged(name: str) -> Fault:
    return Fault(
        "one kernel element wrong by 1e-3",
        name.rpartition(".")[0],
        on_weight(name, nudge_one),
        loader=name,
    )


# (network, options, size) -> faults. Sizes are the smallest at which all that is planted runs.
CASES: tuple[tuple[str, Options, int, tuple[Fault, ...]], ...] = (
    (
        "inception_v1",
        {"return_aux": True, "num_classes": 10},
        224,
        (
            Fault("aux heads swapped", "aux2_logits", swapped_heads),
            exchanged_eps("conv2b.norm", 1e-5, 1e-3),
            flattened_as_hwc("aux1.flatten", 128),
            active_dropout("aux2.dropout", 0.7),
            active_dropout("dropout", 0.4),
            no_relu("aux1.relu"),
            swapped_inputs("inception_3a.concat", (0, 1, 3, 2)),
            Fault("ceil for floor", "maxpool2",
                  instead("maxpool2", MaxPool(3, 2, 1, ceil_mode=True))),
            Fault("average for max", "maxpool3",
                  instead("maxpool3", AvgPool(3, 2, 1, count_include_pad=True))),
            Fault("head's pool 5/2 for 5/3", "aux1.avgpool",
                  instead("aux1.avgpool", lambda x: narrow_pool(x)[:, :, :4, :4])),
            biased("linear.bias"),
            nudged("inception_4b.branch2.1.conv.weight"),
        ),
    ),
    (
        "inception_v1",
        {"lrn": True, "use_aux": False, "num_classes": 10},
        97,
        (
            Fault("LRN alpha not divided", "lrn1",
                  instead("lrn1", LocalResponseNorm(5, 5e-4, 0.75, 1.0))),
            Fault("LRN k 2 for 1", "lrn2", instead("lrn2", LocalResponseNorm(5, 1e-4, 0.75, 2.0))),
            Fault("LRN over 3 channels", "lrn2",
                  instead("lrn2", LocalResponseNorm(3, 1e-4, 0.75, 1.0))),
            no_relu("conv2b.act"),
            biased("conv1.conv.bias"),
        ),
    ),
    (
        "ceil_googlenet",
        {"return_aux": True, "num_classes": 10},
        97,
        (
            Fault("floor for ceil", "sec0.4", instead("sec0.4", MaxPool(3, 2))),
            Fault("aux heads swapped", "aux2_logits", swapped_heads),
            exchanged_eps("sec0.3.norm", 1e-5, 1e-3),
            flattened_as_hwc("h0.flatten", 128),
            active_dropout("h1.fc.2", 0.7),
            Fault("head's pool floors its windows", "h1.conv.0",
                  instead("h1.conv.0", lambda x: x[:, :, :4, :4])),
            swapped_inputs("sec1.0.concat", (0, 1, 3, 2)),
            nudged("sec1.0.b3.1.conv.weight"),
        ),
    ),
    (
        "inception_resnet_v1",
        {"num_classes": 10},
        75,
        (
            Fault("residual not scaled", "Repeat.0.add", instead("Repeat.0.add", ScaledAdd(1.0))),
            Fault("residual times 0.17 for 0.1", "Repeat_1.2.add",
                  instead("Repeat_1.2.add", ScaledAdd(0.17))),
            Fault("shortcut scaled", "Repeat_2.0.add",
                  instead("Repeat_2.0.add", lambda x, y: 0.2 * x + y)),
            Fault("ReLU before the addition", "Repeat.1.add",
                  instead("Repeat.1.add", lambda x, y: x + 0.17 * np.maximum(y, 0))),
            biased("Repeat.2.projection.conv.bias"),
        ),
    ),
    (
        "inception_v2",
        {"return_aux": True},
        97,
        (
            Fault("aux taken one block early", "aux.pool", head_from("inception4d", "aux")),
            exchanged_eps("conv3.norm", 1e-5, 1e-3),
            exchanged_sides("inception4a.branch2.1.conv"),
            flattened_as_hwc("aux.flatten", 128),
            active_dropout("dropout", 0.4),
            active_dropout("aux.dropout", 0.7),
            swapped_inputs("inception3a.concat", (0, 1, 3, 2)),
            Fault("SAME padding at stride 2", "conv1.conv",
                  in_numpy("conv1.conv", lambda w, x: convolve(x, w, 2, (1, 1)))),
            biased("inceptionRed1.branch2.1.conv.bias"),
        ),
    ),
    (
        "inception_v3",
        {"return_aux": True, "num_classes": 10},
        299,
        (
            Fault("aux taken one block early", "AuxLogits.pool0",
                  head_from("Mixed_6d", "AuxLogits")),
            active_dropout("dropout", 0.5),
        ),
    ),
    (
        "inception_v3",
        {"use_aux": False, "num_classes": 10},
        97,
        (
            Fault("padding counted", "Mixed_5b.pool",
                  instead("Mixed_5b.pool", AvgPool(3, 1, 1, count_include_pad=True))),
            Fault("max pool for average", "Mixed_6b.pool",
                  instead("Mixed_6b.pool", MaxPool(3, 1, 1))),
            exchanged_eps("Conv2d_2b_3x3.norm", 1e-3, 1e-5),
            exchanged_sides("Mixed_6b.branch7x7_2.conv"),
            swapped_inputs("Mixed_6b.concat", (0, 2, 1, 3)),
            no_relu("Mixed_7a.branch3x3_2.act"),
            Fault("SAME padding at stride 2", "Conv2d_1a_3x3.conv",
                  in_numpy("Conv2d_1a_3x3.conv", lambda w, x: convolve(x, w, 2, (1, 1)))),
            nudged("Mixed_5b.branch3x3dbl_2.conv.weight"),
        ),
    ),
    (
        "inception_v3",
        {"use_aux": False, "num_classes": 10, "count_include_pad": True, "bn_scale": False},
        96,
        (
            Fault("padding not counted", "Mixed_5c.pool",
                  instead("Mixed_5c.pool", AvgPool(3, 1, 1, count_include_pad=False))),
        ),
    ),
)  # fmt: skip
