"""The kinds of faults that the diagnosis is measured by, with the causes right for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import in_layers as f
from .in_layers import Kind

BF16, F16, F32 = (f.rounded(d) for d in ("bfloat16", "float16", "float32"))


def _swapped(own: dict[str, Any]) -> dict[str, Any]:
    mean, var = own["running_mean"], own["running_var"]
    return {**own, "running_mean": var, "running_var": np.abs(mean)}


def _fresh(own: dict[str, Any]) -> dict[str, Any]:
    return {
        **own, "running_mean": 0 * own["running_mean"], "running_var": 0 * own["running_var"] + 1,
    }  # fmt: skip


def _exchanged(own: dict[str, Any]) -> dict[str, Any]:
    return {**own, "weight": own["bias"], "bias": own["weight"]} if "weight" in own else own


def _reversed(own: dict[str, Any]) -> dict[str, Any]:
    return {k: a[::-1].copy() for k, a in own.items()}


def _flip(w: Any) -> Any:
    return w[:, :, ::-1, ::-1]


def _same_channels(layer: Any) -> bool:
    return layer.weight.shape[0] == layer.weight.shape[1]


# fmt: off
CONVOLUTIONS = (
    ("SAME padding", "padding", f.same_padding),
    ("padding at the end only", "padding", f.padded_to(0, 2)),
    ("padding at the beginning only", "padding", f.padded_to(2, 0)),
    ("no padding", "padding", f.padded_to(0, 0)),
    ("padding reflected", "padding-mode", f.padding_mode("reflect")),
    ("padding repeats the edge", "padding-mode", f.padding_mode("edge")),
    ("padding of 0.1", "padding-value", f.padding_mode("constant", 0.1)),
    ("dilation 2", "dilation", f.dilated),
    ("windows a pixel late", "stride-offset|padding", f.late),
    ("kernel flipped", "kernel-flipped", f.kernel(_flip)),
    ("kernel mirrored", "kernel-flipped", f.kernel(lambda w: w[:, :, :, ::-1])),
    ("kernel transposed", "kernel-transposed", f.kernel(lambda w: w.swapaxes(2, 3))),
    ("kernel turned by a quarter", "kernel-transposed",
     f.kernel(lambda w: np.rot90(w, 1, (2, 3)))),
    ("7x1 for 1x7", "kernel-transposed", f.turned_sides),
    ("in for out", "kernel-io", f.kernel(lambda w: w.swapaxes(0, 1), _same_channels)),
    ("HWIO reshaped", "kernel-reshaped|kernel-io",
     f.kernel(lambda w: w.transpose(2, 3, 1, 0).reshape(w.shape), f.any_layer)),
    ("input channels reversed", "channel-order", f.kernel(lambda w: w[:, ::-1], f.any_layer)),
    ("output channels reversed", "channel-order", f.channels(lambda y: y[:, ::-1])),
    ("output channels shifted", "channel-order", f.channels(lambda y: np.roll(y, 1, axis=1))),
    ("bias missing", "bias-missing", f.array("bias", np.zeros_like)),
    ("bias doubled", "bias-doubled", f.array("bias", lambda b: 2 * b)),
    ("bias shifted", "bias-order", f.array("bias", lambda b: np.roll(b, 1))),
    ("one bias other", "one-bias", f.nudged_bias),
    ("one weight other", "one-weight", f.nudged),
    ("weights of another seed", "other-weights", f.other_seed),
    ("weights of zero", "weights-zero|constant", f.array("weight", np.zeros_like)),
    ("weights times 1.1", "weights-scaled", f.array("weight", lambda w: 1.1 * w)),
    ("in bfloat16", "downcast", f.narrow("bfloat16")),
    ("in float32", "downcast", f.narrow("float32")),
    ("weights in float16", "downcast", f.array("weight", F16)),
    ("weights in bfloat16", "downcast", f.array("weight", BF16)),
    ("a ReLU too much", "activation-surplus", f.then_relu),
    ("fed from elsewhere", "wired-otherwise", f.rewired),
    ("output scaled", "weights-scaled|output-scaled", f.channels(lambda y: 1.5 * y)),
    ("images exchanged", "batch-order", f.channels(lambda y: y[::-1])),
    ("a NaN", "not-finite", f.channels(f.some_nan)),
    ("SAME padding, kernel flipped", "padding + kernel-flipped|kernel-flipped + padding",
     f.both_plants(f.kernel(_flip), f.same_padding)),
    ("bias missing, kernel transposed",
     "bias-missing + kernel-transposed|kernel-transposed + bias-missing",
     f.both_plants(f.kernel(lambda w: w.swapaxes(2, 3)), f.array("bias", np.zeros_like))),
)
NORMS = (
    ("eps 1e-5 for 1e-3, or the reverse", "eps", f.eps_to(lambda e: 1e-5 if e > 1e-4 else 1e-3)),
    ("eps 1% off", "eps", f.eps_to(lambda e: 1.01 * e)),
    ("gamma missing", "gamma-missing", f.array("weight", np.ones_like)),
    ("beta missing", "beta-missing", f.array("bias", np.zeros_like)),
    ("gamma and beta exchanged", "gamma-beta-swapped", f.arrays(_exchanged)),
    ("statistics swapped", "statistics-swapped", f.arrays(_swapped)),
    ("statistics not loaded", "statistics-not-loaded", f.arrays(_fresh)),
    ("variance not loaded", "statistics-not-loaded", f.array("running_var", np.ones_like)),
    ("mean not loaded", "statistics-not-loaded", f.array("running_mean", np.zeros_like)),
    ("variance unbiased", "variance-biased", f.array("running_var", lambda v: v * 50 / 49)),
    ("training mode", "training-mode", f.in_training),
    ("eps outside of the root", "eps-outside", f.normed(eps_outside=True)),
    ("deviation for variance", "variance-rooted", f.normed(rooted=True)),
    ("arrays reversed", "norm-order|channel-order", f.arrays(_reversed)),
    ("beta shifted", "bias-order", f.array("bias", lambda b: np.roll(b, 1))),
    ("no batch norm", "norm-missing", f.identity),
    ("eps other, gamma missing", "eps + gamma-missing|gamma-missing + eps",
     f.both_plants(f.eps_to(lambda e: 1e-5 if e > 1e-4 else 1e-3),
                   f.array("weight", np.ones_like))),
)
ACTIVATIONS = (
    ("no activation", "activation-missing", f.identity),
    ("ReLU cut at 6", "other-activation|clipped", f.on_input(lambda x: np.clip(x, 0, 6))),
    ("leaky ReLU", "other-activation", f.on_input(lambda x: np.where(x < 0, 0.01 * x, x))),
    ("ELU", "other-activation", f.on_input(lambda x: np.where(x < 0, np.expm1(x), x))),
    ("SiLU", "other-activation", f.on_input(lambda x: x / (1 + np.exp(-x)))),
    ("tanh", "other-activation", f.on_input(np.tanh)),
    ("dropout after it", "dropout-active", f.drop(0.2)),
    ("channels dropped after it", "dropout-active", f.drop(0.3, whole=True)),
    ("activation not called", "activation-missing", f.left_out),
    ("activation inlined", "inlined", f.inlined),
    ("constant output", "constant|output-scaled", f.channels(np.zeros_like)),
    ("output transposed", "image-turned", f.channels(lambda y: y.swapaxes(2, 3))),
)
POOLS = (
    ("MaxPool", "SAME padding", "padding", f.same_padding),
    ("MaxPool", "average for max", "average-for-max", f.pool_as(f._average)),
    ("MaxPool", "ceil mode changed", "ceil-mode|padding", f.pool_as(f._ceil)),
    ("MaxPool", "window 2 for 3", "window", f.pool_as(f._narrower)),
    ("MaxPool", "max pool left out", "layer-missing|window", f.identity),
    ("AvgPool", "padding counted, or not", "pad-counted", f.pool_as(f._counted)),
    ("AvgPool", "max for average", "max-for-average", f.pool_as(f._maximum)),
    ("AvgPool", "window 5 for 3", "window", f.pool_as(f._wide)),
    ("AvgPool", "sum for mean", "sum-for-mean", f.pool_as(f._sum)),
    ("AdaptiveAvgPool", "fixed windows for adaptive", "adaptive", f.pool_as(f._fixed)),
    ("GlobalAvgPool", "max for global mean", "max-for-average",
     f.on_input(lambda x: x.max((2, 3), keepdims=True))),
    ("GlobalAvgPool", "sum for global mean", "sum-for-mean|output-scaled",
     f.on_input(lambda x: x.sum((2, 3), keepdims=True))),
)
OTHERS = (
    ("Concat", "branches exchanged", "branch-order", f.joined(f.exchanged)),
    ("Concat", "branches rolled", "branch-order",
     f.joined(lambda n, rng: list(np.roll(range(n), 1)))),
    ("Concat", "a branch twice", "branch-repeated", f.twice),
    ("Concat", "a branch of zeros", "branch-missing", f.without_one),
    ("Flatten", "flattened as HWC", "flatten-order", f.hwc),
    ("Linear", "kernel for HWC", "flatten-order", f.hwc_kernel),
    ("Linear", "dense reshaped", "dense-transposed",
     f.kernel(lambda w: w.T.reshape(w.shape), f.any_layer)),
    ("Linear", "bias missing", "bias-missing", f.array("bias", np.zeros_like)),
    ("Linear", "one weight other", "one-weight", f.nudged),
    ("Linear", "classes shifted", "channel-order", f.channels(lambda y: np.roll(y, 1, axis=1))),
    ("Linear", "softmax", "activation-surplus", f.channels(f.softmax)),
    ("Linear", "a ReLU too much", "activation-surplus", f.then_relu),
    ("LocalResponseNorm", "alpha not divided", "lrn-constants", f.local(alpha=lambda a: 5 * a)),
    ("LocalResponseNorm", "k 2 for 1", "lrn-constants", f.local(k=2.0)),
    ("LocalResponseNorm", "over 3 channels", "lrn-constants", f.local(size=3)),
    ("LocalResponseNorm", "beta 0.5", "lrn-constants", f.local(beta=0.5)),
    ("LocalResponseNorm", "left out", "lrn-missing", f.identity),
    ("Dropout", "active in inference", "dropout-active", f.drop(0.4)),
    ("Dropout", "scaled in inference", "dropout-scaled|output-scaled",
     f.channels(lambda y: 0.6 * y)),
    ("TransformInput", "left out", "layer-missing", f.identity),
    ("TransformInput", "only scaled", "input-transform", f.only_scaled),
    ("network", "heads swapped", "wired-otherwise", f.swapped_heads),
)
# What the network is fed, changed before it: (N, C, H, W) -> the same.
IMAGES = (
    ("BGR", "channel-order", lambda x: x[:, ::-1]),
    ("0 … 255", "scale", lambda x: 128 * x + 127.5),
    ("0 … 1", "scale", lambda x: (128 * x + 127.5) / 255),
    ("ImageNet's mean and deviation", "scale",
     lambda x: ((128 * x + 127.5) / 255 - f.row(0.485, 0.456, 0.406)) / f.row(0.229, 0.224, 0.225)),
    ("BGR and Caffe's mean", "channel-order + scale|scale + channel-order",
     lambda x: 128 * x[:, ::-1] + 127.5 - f.row(103.939, 116.779, 123.68)),
    ("mirrored", "image-turned", lambda x: x[:, :, :, ::-1]),
    ("another layout", "layout", lambda x: x.transpose(0, 2, 3, 1).reshape(x.shape)),
    ("images exchanged", "batch-order", lambda x: x[::-1]),
)
# fmt: on

KINDS = (
    *(Kind(name, "Conv2d", tuple(c.split("|")), make) for name, c, make in CONVOLUTIONS),
    *(Kind(name, "BatchNorm2d", tuple(c.split("|")), make) for name, c, make in NORMS),
    *(Kind(name, "ReLU", tuple(c.split("|")), make) for name, c, make in ACTIVATIONS),
    *(Kind(name, layer, tuple(c.split("|")), make) for layer, name, c, make in POOLS),
    *(Kind(name, layer, tuple(c.split("|")), make) for layer, name, c, make in OTHERS),
)
