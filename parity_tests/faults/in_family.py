"""Faults of the residual networks, v4, BN-Inception and the FID's network, with their causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from inception_np.layers import Resize, ScaledAdd
from inception_np.pools import AvgPool, MaxPool
from inception_parity.backends import Adapter

from .in_networks import Options, exchanged_eps, exchanged_sides, instead, swapped_inputs
from .planting import Fault, Undo, module_at, on_output, on_weight, override


@dataclass(frozen=True)
class Explained:
    """A fault, the causes that may be named first, and words of the text."""

    fault: Fault
    causes: str  # separated by |
    says: str = ""

    def explained_by(self, cause: str) -> bool:
        """Return whether a cause is right."""
        return cause in self.causes.split("|")


def explained(name: str, first: str, plant: Any, causes: str, says: str = "") -> Explained:
    return Explained(Fault(name, first, plant), causes, says)


def added(path: str, compute: Callable[..., Any]) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: the sum at `path` is `compute(shortcut, residual)` of native tensors."""
    return lambda backend, net: override(
        backend, module_at(backend, net, path), lambda call, x, y: compute(x, y)
    )


def exchanged(path: str) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: shortcut and residual are exchanged, each with the other's factor."""
    return lambda backend, net: override(
        backend, module_at(backend, net, path), lambda call, x, y: call(y, x)
    )


def loaded(name: str, key: str, change: Callable[[Any], Any]) -> Fault:
    """A fault in an array of a layer, which the loader's report has to name too."""
    return Fault(name, key.rpartition(".")[0], on_weight(key, change), loader=key)


def rectified(path: str) -> Callable[[Adapter, Any], Undo]:
    return on_output(path, lambda y: np.maximum(y, 0))


def in_order(block: str, order: tuple[int, ...]) -> Callable[[Adapter, Any], Undo]:
    """Return a plant: the children of a sequential block run in another order."""

    def plant(backend: Adapter, net: Any) -> Undo:
        children = [module_at(backend, net, f"{block}.{i}") for i in order]

        def stand_in(call: Callable[..., Any], x: Any) -> Any:
            for child in children:
                x = child(x)
            return x

        return override(backend, module_at(backend, net, block), stand_in)

    return plant


def resized_natively(backend: Adapter, net: Any) -> Undo:
    """The framework's own resizing with its usual arguments: half-pixel centres in all three."""

    def stand_in(call: Callable[..., Any], x: Any) -> Any:
        if backend.name == "pt":
            from torch.nn.functional import interpolate

            return interpolate(x, (299, 299), mode="bilinear")
        if backend.name == "tf":
            import tensorflow as tf

            return tf.cast(tf.image.resize(x, (299, 299)), x.dtype)
        import mxnet as mx

        small = x.as_nd_ndarray()
        resize = mx.nd.contrib.BilinearResize2D
        return resize(small, height=299, width=299, align_corners=False).as_np_ndarray()

    return override(backend, module_at(backend, net, "resize"), stand_in)


def resized(name: str, says: str, **how: Any) -> Explained:
    """A fault: PyTorch resizes, whatever the framework."""

    def compute(x: Any) -> Any:
        import torch
        from torch.nn.functional import interpolate

        return interpolate(torch.from_numpy(np.ascontiguousarray(x)), (299, 299), **how).numpy()

    return explained(name, "resize", instead("resize", compute), "resize", says)


def averaged(x: Any) -> Any:
    """The mean of windows of 3x3 at stride 2, the last of which end at the edge."""
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    seen = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.nanmean(seen[:, :, ::2, ::2], axis=(-2, -1))


def residual(blocks: tuple[str, str, str], scales: tuple[float, float, float]) -> Any:
    """Yield the faults of residual blocks: one of 35 x 35, one of 17 x 17, one of 8 x 8."""
    large, middle, small = (f"{block}.add" for block in blocks)
    a, b, c = scales
    yield explained(
        "residual times 0.25",
        large,
        instead(large, ScaledAdd(0.25)),
        "residual-scale",
        f"by 0.25, but should be by {a:g}",
    )
    yield explained(
        "residual not scaled",
        middle,
        added(middle, lambda x, y: x + y),
        "residual-scale",
        "isn't scaled",
    )
    yield explained(
        "ReLU before the addition",
        small,
        instead(small, lambda x, y: x + c * np.maximum(y, 0)),
        "activation-surplus",
        "a ReLU on term 2 before the sum",
    )
    yield explained("branch and shortcut exchanged", large, exchanged(large), "shortcut-exchanged")
    yield explained(
        "whole sum scaled",
        middle,
        added(middle, lambda x, y: b * (x + y)),
        "residual-scale",
        "the whole sum",
    )
    yield explained(
        "residual subtracted",
        small,
        added(small, lambda x, y: x - c * y),
        "branch-sign|residual-scale",
    )
    yield explained(
        "shortcut missing", middle, added(middle, lambda x, y: b * y), "branch-missing", "term 1"
    )
    projections = [f"{block}.projection" for block in blocks]
    yield Explained(
        loaded("projection without bias", f"{projections[1]}.conv.bias", np.zeros_like),
        "bias-missing",
    )
    yield Explained(
        loaded("projection's bias shifted", f"{projections[2]}.conv.bias", lambda v: np.roll(v, 1)),
        "bias-order",
    )
    first = f"{projections[0]}.conv"
    yield explained("ReLU in the projection", first, rectified(first), "activation-surplus")


RESNET_V1 = (
    *residual(("Repeat.2", "Repeat_1.3", "Repeat_2.1"), (0.17, 0.1, 0.2)),
    explained(
        "last block's scale 0.2 for 1",
        "Block8.add",
        instead("Block8.add", ScaledAdd(0.2)),
        "residual-scale",
        "by 0.2, but should be by 1",
    ),
    explained(
        "ReLU after the last block", "Block8.add", rectified("Block8.add"), "activation-surplus"
    ),
    Explained(swapped_inputs("Repeat_1.0.concat", (1, 0)), "branch-order"),
)
RESNET_V2 = (
    *residual(("Repeat.4", "Repeat_1.11", "Repeat_2.3"), (0.17, 0.1, 0.2)),
    explained(
        "last block's scale 0.2 for 1",
        "Block8.add",
        instead("Block8.add", ScaledAdd(0.2)),
        "residual-scale",
        "by 0.2, but should be by 1",
    ),
    explained(
        "ReLU after the last block", "Block8.add", rectified("Block8.add"), "activation-surplus"
    ),
    Explained(swapped_inputs("Repeat_1.0.concat", (1, 0)), "branch-order"),
    explained(
        "padding counted",
        "Mixed_5b.branch3.0",
        instead("Mixed_5b.branch3.0", AvgPool(3, 1, 1, count_include_pad=True)),
        "pad-counted",
    ),
    Explained(
        exchanged_sides("Repeat_1.2.branch1.1.conv"), "kernel-transposed", "7x1 instead of 1x7"
    ),
)
V4 = (
    Explained(
        exchanged_sides("Mixed_4a.branch1.1.conv"), "kernel-transposed", "7x1 instead of 1x7"
    ),
    explained(
        "7x1 before 1x7",
        "Mixed_4a.branch1.1.conv",
        in_order("Mixed_4a.branch1", (0, 2, 1, 3)),
        "layer-order",
        "Mixed_4a.branch1.2.act",
    ),
    explained(
        "padding counted",
        "Mixed_5b.branch3.0",
        instead("Mixed_5b.branch3.0", AvgPool(3, 1, 1, count_include_pad=True)),
        "pad-counted",
    ),
    explained(
        "max pool for average",
        "Mixed_6c.branch3.0",
        instead("Mixed_6c.branch3.0", MaxPool(3, 1, 1)),
        "max-for-average",
    ),
    explained(
        "average for max pool in the stem",
        "Mixed_3a.branch0",
        instead("Mixed_3a.branch0", AvgPool(3, 2, count_include_pad=True)),
        "average-for-max",
    ),
    Explained(swapped_inputs("Mixed_3a.concat", (1, 0)), "branch-order"),
    Explained(swapped_inputs("Mixed_7b.branch1_concat", (1, 0)), "branch-order"),
    Explained(exchanged_eps("Mixed_5d.branch2.2.norm", 1e-3, 1e-5), "eps"),
)
BN = (
    explained(
        "ceil mode missing",
        "pool1_3x3_s2",
        instead("pool1_3x3_s2", MaxPool(3, 2)),
        "ceil-mode",
        "floor mode",
    ),
    explained(
        "padding not counted",
        "inception_3a.pool",
        instead("inception_3a.pool", AvgPool(3, 1, 1, count_include_pad=False)),
        "pad-counted",
        "doesn't count",
    ),
    explained(
        "ceil mode for padding",
        "inception_3c.pool",
        instead("inception_3c.pool", MaxPool(3, 2, ceil_mode=True)),
        "padding",
    ),
    Explained(swapped_inputs("inception_4e.concat", (2, 0, 1)), "branch-order"),
)
BN_CAFFE = (
    explained(
        "pool of the pass-through branch padded",
        "inception_3c.pool",
        instead("inception_3c.pool", MaxPool(3, 2, 1)),
        "padding",
    ),
    explained(
        "pass-through branch averaged",
        "inception_4e.pool",
        instead("inception_4e.pool", averaged),
        "average-for-max",
    ),
    explained(
        "pass-through branch without pool",
        "inception_3c.pool",
        instead("inception_3c.pool", lambda x: x[:, :, ::2, ::2]),
        "window",
    ),
    Explained(swapped_inputs("inception_3c.concat", (2, 0, 1)), "branch-order"),
    explained(
        "average for max in 5b",
        "inception_5b.pool",
        instead("inception_5b.pool", AvgPool(3, 1, 1, count_include_pad=True)),
        "average-for-max",
    ),
    explained(
        "max for average in 5a",
        "inception_5a.pool",
        instead("inception_5a.pool", MaxPool(3, 1, 1)),
        "max-for-average",
    ),
    Explained(
        loaded("bias before batch norm missing", "conv2_3x3.conv.bias", np.zeros_like),
        "bias-missing",
    ),
    Explained(exchanged_eps("inception_4a.double_3x3_1.norm", 1e-5, 1e-3), "eps"),
)
FID = (
    explained(
        "padding counted",
        "Mixed_5b.pool",
        instead("Mixed_5b.pool", AvgPool(3, 1, 1, count_include_pad=True)),
        "pad-counted",
        "counts its padding",
    ),
    explained(
        "padding counted by the last average pool",
        "Mixed_7b.pool",
        instead("Mixed_7b.pool", AvgPool(3, 1, 1, count_include_pad=True)),
        "pad-counted",
    ),
    explained(
        "average for max in the last block",
        "Mixed_7c.pool",
        instead("Mixed_7c.pool", AvgPool(3, 1, 1, count_include_pad=False)),
        "average-for-max",
    ),
    explained(
        "average for max in the last block, padding counted",
        "Mixed_7c.pool",
        instead("Mixed_7c.pool", AvgPool(3, 1, 1, count_include_pad=True)),
        "average-for-max",
    ),
    explained(
        "max for average",
        "Mixed_7b.pool",
        instead("Mixed_7b.pool", MaxPool(3, 1, 1)),
        "max-for-average",
    ),
    explained("x for 2x - 1", "rescale", instead("rescale", lambda x: x), "layer-missing"),
    explained("2x - 1 twice", "rescale", instead("rescale", lambda x: 4 * x - 3), "layer-doubled"),
    explained(
        "255x for 2x - 1",
        "rescale",
        instead("rescale", lambda x: 255 * x),
        "input-transform",
        "0 … 255",
    ),
    explained(
        "x / 127.5 - 1 for 2x - 1",
        "rescale",
        instead("rescale", lambda x: x / 127.5 - 1),
        "input-transform",
        "for 0 … 255",
    ),
)
FID_RESIZED = (
    explained(
        "half-pixel centres",
        "resize",
        instead("resize", Resize(299, True)),
        "resize",
        "with half-pixel centres, but should be by TensorFlow 1's",
    ),
    explained(
        "the framework's own resizing",
        "resize",
        resized_natively,
        "resize",
        "with half-pixel centres, but should be by TensorFlow 1's",
    ),
    resized("aligned corners", "aligned corners", mode="bilinear", align_corners=True),
    resized("nearest pixel", "the nearest pixel, by corners", mode="nearest"),
    resized("bicubic", "a bicubic rule (a = -0.75", mode="bicubic"),
    resized("antialiased", "an antialiased bilinear rule", mode="bilinear", antialias=True),
    explained("images not resized", "resize", instead("resize", lambda x: x), "layer-missing"),
    explained(
        "images resized to 224 x 224",
        "resize",
        instead("resize", Resize(224)),
        "resize-size",
        "to 224x224, but should be to 299x299",
    ),
)
# (network, options, (height, width), faults). Sizes are the smallest at which all of it runs;
# in the last case images are made smaller along one axis, where antialiasing changes them.
CASES: tuple[tuple[str, Options, tuple[int, int], tuple[Explained, ...]], ...] = (
    ("bn_inception", {"num_classes": 10, "padded_pool": True}, (64, 64), BN),
    ("bn_inception", {"num_classes": 10}, (96, 96), BN_CAFFE),
    ("inception_v4", {"num_classes": 10, "use_aux": False}, (139, 107), V4),
    ("inception_resnet_v1", {"num_classes": 10}, (75, 96), RESNET_V1),
    ("inception_resnet_v2", {"num_classes": 10, "use_aux": False}, (75, 96), RESNET_V2),
    ("fid_inception", {"num_classes": 10, "resize": False}, (107, 139), FID),
    ("fid_inception", {"num_classes": 10}, (80, 360), FID_RESIZED),
)  # fmt: skip
