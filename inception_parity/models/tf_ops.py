"""TensorFlow's own operations as shared kinds and settings, outside of any Keras layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import kinds
from .layers import Settings
from .operations import Call, Described, Op, Operations, arg, axis

_ARITHMETIC = {"AddV2": "add", "Add": "add", "Sub": "sub", "Mul": "mul", "RealDiv": "div",
               "Maximum": "maximum", "Minimum": "minimum"}  # fmt: skip


def _scalar(call: Call) -> float | None:
    numbers = [tensor for tensor in (call.get("a"), call.get("b")) if not len(tensor.shape)]
    return float(numbers[0]) if numbers else None


def _numbers(call: Call, name: str) -> Any:
    return np.asarray(call.given[name]).tolist()


def _spatial(call: Call) -> slice:
    return slice(1, 3) if call.get("data_format", "NHWC") == "NHWC" else slice(2, 4)


def _window(call: Call, kernel: Any, **dilation: Any) -> Settings:
    where = _spatial(call)
    padding, flat = call.given["padding"], call.get("explicit_paddings", ())
    if padding == "EXPLICIT":
        padding = list(zip(flat[::2], flat[1::2], strict=True))[where]
    return kinds.window(kernel, tuple(call.given["strides"][where]), padding,
                  sizes=[int(side) for side in call.x.shape[where]], **dilation)  # fmt: skip


def _convolution(call: Call) -> Described:
    where, weight = _spatial(call), call.given["weight"].shape
    dilation = tuple(call.get("dilations", (1, 1, 1, 1))[where])
    channels = int(call.x.shape[-1 if where.start == 1 else 1])
    groups = channels if call.name.startswith("Depthwise") else channels // int(weight[2])
    kernel = [int(side) for side in weight[:2]]
    return "conv", {**_window(call, kernel, dilation=dilation), "groups": groups}


def _pool(call: Call) -> Described:
    settings = _window(call, call.given["ksize"][_spatial(call)])
    return kinds.window_pool("max" if call.name == "MaxPool" else "mean", settings)


def _pad(call: Call) -> Described:
    pads = _numbers(call, "paddings")
    return kinds.zero_pad(pads, call.tag, fill=call.get("fill", 0.0))


def _mirror(call: Call) -> Described:
    return kinds.zero_pad(_numbers(call, "paddings"), call.tag, str(call.get("mode")).lower())


def _strided(call: Call) -> Described:
    """Return what an index stands for, from the bits that say how each of its parts is meant."""
    bits = {
        name: int(call.get(f"{name}_mask", 0))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    if bits["ellipsis"] or bits["new_axis"]:
        return "slice", {}
    parts = (_numbers(call, name) for name in ("begin", "end", "strides"))
    key: list[int | slice] = []
    for i, (begin, end, step) in enumerate(zip(*parts, strict=True)):
        first = None if bits["begin"] >> i & 1 else begin
        last = None if bits["end"] >> i & 1 else end
        key.append(begin if bits["shrink_axis"] >> i & 1 else slice(first, last, step))
    return kinds.indexed(tuple(key), call)


_RESIZES = {"ResizeBilinear": "corners", "ResizeNearestNeighbor": "nearest"}
_HALF_PIXEL = {"corners": "centres", "nearest": "nearest-centres", "": "bicubic-table"}


def _resize(call: Call) -> Described:
    """Return a resize by its rule; TensorFlow 1's, without half pixels, is its own default."""
    rule = _RESIZES.get(call.name, "")
    if call.get("align_corners"):
        rule = "aligned" if rule == "corners" else ""
    elif call.get("half_pixel_centers"):
        rule = _HALF_PIXEL[rule]
    return kinds.resize(call, rule, call.output.shape[1:3])


def _lrn_size(call: Call) -> int:
    return 2 * int(call.given["depth_radius"]) + 1


OPERATIONS = Operations({
    **{name: Op(kind, "a b", scalar=_scalar) for name, kind in _ARITHMETIC.items()},
    "AddN": "add", "Identity": "identity", "Cast": "cast", "Slice": "slice",
    "StridedSlice": Op(_strided, "x begin end strides"),
    "Squeeze ExpandDims": "reshape", "Reshape": kinds.reshape,
    "Softmax": Op("act", function="softmax", axis=lambda call: call.axis(-1)),
    "LogSoftmax": Op("act", function="log_softmax", axis=lambda call: call.axis(-1)),
    "LeakyRelu": Op("act", function="leaky_relu", slope=arg("alpha", 0.2)),
    "Elu": Op("act", function="elu", slope=1.0),
    "Conv2D DepthwiseConv2dNative": Op(_convolution, "x weight"),
    "BiasAdd": Op("bias", "x bias"),
    "MatMul": Op(kinds.dense, "x weight"),
    "MaxPool AvgPool": _pool,
    "ConcatV2": Op("concat", axis=axis("axis")),
    "Sum": Op(kinds.reduction("sum", "axis"), "x axis"),
    "DepthToSpace": Op("depth_to_space", block=arg("block_size", int), order="DCR"),
    "SpaceToDepth": Op("space_to_depth", block=arg("block_size", int), order="DCR"),
    "ReverseV2": Op(
        "flip", "x axis", axis=lambda call: call.axis(np.ravel(_numbers(call, "axis"))[0])
    ),
    "ResizeBilinear ResizeNearestNeighbor ResizeBicubic": _resize,
    "MirrorPad": Op(_mirror, "x paddings"),
    "Mean": Op(kinds.reduction("mean", "axis"), "x axis"),
    "Max": Op(kinds.reduction("max", "axis"), "x axis"),
    "Transpose": Op("permute", "x perm", order=lambda call: _numbers(call, "perm")),
    "Pad PadV2": Op(_pad, "x paddings fill"),
    "LRN": Op(
        "lrn", size=_lrn_size, alpha=lambda call: call.given["alpha"] * _lrn_size(call),
        beta=arg("beta"), k=arg("bias"),
    ),
})  # fmt: skip
