"""ONNX's operators as shared kinds and settings."""

from __future__ import annotations

import numpy as np

from . import kinds
from .layers import Settings
from .operations import Call, Described, Op, Operations, arg, axis

_ARITHMETIC = {"Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}


def _scalar(call: Call) -> float | None:
    constants = [array for array in (call.get("a"), call.get("b")) if array is not None]
    return kinds.number(constants[0]) if len(constants) == 1 and constants[0].size == 1 else None


def _add(call: Call) -> Described:
    """Return a sum; of a constant for every channel it is a bias."""
    if "bias" in call.weights:
        return "bias", {}
    scalar = _scalar(call)
    return "add", {} if scalar is None else {"scalar": scalar}


def _gelu(call: Call) -> str:
    return "gelu_tanh" if call.get("approximate", "none") == "tanh" else "gelu"


def _window(call: Call) -> Settings:
    weight = call.get("weight")
    kernel = call.get("kernel_shape") or (() if weight is None else weight.shape[2:])
    flat = call.get("pads", ())  # all befores, then all afters
    half = len(flat) // 2
    auto = call.get("auto_pad", "NOTSET")
    given = auto == "NOTSET" and half
    padding = list(zip(flat[:half], flat[half:], strict=True)) if given else auto
    sizes = call.x.shape[2:]
    return kinds.window(kernel, call.get("strides", 1), padding, call.get("dilations", 1), sizes)


def _convolution(call: Call) -> Described:
    settings = {**_window(call), "groups": call.get("group", 1)}
    if call.name == "Conv":
        return "conv", settings
    flat, sizes = call.get("pads", ()), call.x.shape[2:]
    before = None if call.get("auto_pad", "NOTSET").startswith("SAME") else \
        (flat[: len(flat) // 2] or (0,) * len(sizes))  # fmt: skip
    pads = kinds.whole_cut(sizes, call.output.shape[2:], settings, before)
    return "conv_transpose", {**settings, "pads": pads}


def _pool(call: Call) -> Described:
    reduce = "max" if call.name == "MaxPool" else "mean"
    counts = call.get("count_include_pad")
    return kinds.window_pool(reduce, _window(call), call.get("ceil_mode"), counts)


def _clip(call: Call) -> Described:
    low, high = (
        None if end is None else kinds.number(end) for end in (call.get("min"), call.get("max"))
    )
    return kinds.clip(low, high)


def _pad(call: Call) -> Described:
    flat = list(call.get("pads", ()))
    half = len(flat) // 2
    pads = list(zip(flat[:half], flat[half:], strict=True))
    return kinds.zero_pad(pads, call.tag, call.get("mode", "constant"), call.get("fill", 0.0))


def _gather(call: Call) -> Described:
    """Return what takes one element along an axis; rows of a constant table are an embedding."""
    indices = call.get("indices")
    if "weight" in call.weights:
        return "embedding", {}
    where = int(call.get("axis", 0)) % len(call.x.shape)
    if indices is None or np.ndim(indices):
        return "gather", {"axis": call.axis(where)}
    return kinds.taken(where, int(indices), call)


_LINEAR = {
    "half_pixel": "centres", "pytorch_half_pixel": "centres", "align_corners": "aligned",
    "asymmetric": "corners",
}  # fmt: skip
_NEAREST = {("asymmetric", "floor"): "nearest", ("half_pixel", "round_prefer_ceil"):
            "nearest-centres", ("half_pixel", "round_prefer_floor"): "nearest-centres"}  # fmt: skip


def _resize(call: Call) -> Described:
    """Return a resize by its rule; before opset 11 positions are those of corners."""
    mode = str(call.get("mode", "nearest")).removeprefix("bi")
    usual = "half_pixel" if call.name == "Resize" else "asymmetric"
    where = str(call.get("coordinate_transformation_mode", usual))
    rounding = "round_prefer_floor" if call.name == "Resize" else "floor"
    rule = _LINEAR.get(where, "") if mode == "linear" else ""
    if mode == "nearest":
        rule = _NEAREST.get((where, str(call.get("nearest_mode", rounding))), "")
    elif mode == "cubic" and _LINEAR.get(where) == "centres":
        rule = "bicubic" if float(call.get("cubic_coeff_a", -0.75)) == -0.75 else ""
    if call.get("antialias"):
        rule = {"centres": "antialiased", "bicubic": "bicubic-antialiased"}.get(rule, "")
    return kinds.resize(call, rule, call.output.shape[2:])


def _axes_from(call: Call) -> tuple[int, ...]:
    ndim = len(call.x.shape)
    return kinds.last_axes(call, ndim - int(call.get("axis", -1)) % ndim)


_NORM = "x weight bias"

OPERATORS = Operations({
    **{name: Op(kind, "a b", scalar=_scalar) for name, kind in _ARITHMETIC.items()},
    "Add": Op(_add, "a b"),
    "Max": "maximum", "Min": "minimum",
    "Flatten": "flatten", "Squeeze Unsqueeze": "reshape", "Reshape": kinds.reshape,
    "Identity": "identity", "Slice": "slice", "Dropout": "dropout", "Cast": "cast",
    "LeakyRelu": Op("act", function="leaky_relu", slope=arg("alpha", 0.01)),
    "Elu": Op("act", function="elu", slope=arg("alpha", 1.0)),
    "Celu": Op("act", function="celu", slope=arg("alpha", 1.0)),
    "HardSigmoid": Op("act", function="hard_sigmoid", slope=arg("alpha", 0.2)),
    "Softmax": Op("act", function="softmax", axis=axis("axis", -1)),
    "LogSoftmax": Op("act", function="log_softmax", axis=axis("axis", -1)),
    "Gelu": Op("act", function=_gelu),
    "Conv ConvTranspose": Op(_convolution, "x weight bias"),
    "MaxPool AveragePool": _pool,
    "GlobalAveragePool": Op("global_pool", reduce="mean"),
    "GlobalMaxPool": Op("global_pool", reduce="max"),
    "ReduceSum": Op(kinds.reduction("sum", "axes"), "x axes"),
    "DepthToSpace": Op("depth_to_space", block=arg("blocksize", int), order=arg("mode", "DCR")),
    "SpaceToDepth": Op("space_to_depth", block=arg("blocksize", int), order="DCR"),
    "ReduceMean": Op(kinds.reduction("mean", "axes"), "x axes"),
    "ReduceMax": Op(kinds.reduction("max", "axes"), "x axes"),
    "Gemm": Op(kinds.dense, "x weight bias"),
    "MatMul": Op(kinds.dense, "x weight"),
    "BatchNormalization": Op(
        "norm", f"{_NORM} running_mean running_var", eps=arg("epsilon", 1e-5),
        momentum=lambda call: 1 - call.get("momentum", 0.9),
    ),
    "LayerNormalization": Op("layer_norm", _NORM, eps=arg("epsilon", 1e-5), axes=_axes_from),
    "RMSNormalization": Op("rms_norm", _NORM, eps=arg("epsilon", 1e-5), axes=_axes_from),
    "InstanceNormalization": Op("instance_norm", _NORM, eps=arg("epsilon", 1e-5)),
    "GroupNormalization": Op(
        lambda call: kinds.group_norm(call.given["num_groups"], call.get("epsilon", 1e-5), call),
        _NORM,
    ),
    "PRelu": Op("prelu", "x weight"),
    "Gather": Op(_gather, "weight indices"),
    "LRN": Op("lrn", size=arg("size"), k=arg("bias", 1.0), alpha=arg("alpha", 1e-4),
              beta=arg("beta", 0.75)),
    "Concat": Op("concat", axis=axis("axis")),
    "Transpose": Op("permute", order=arg("perm", ())),
    "Clip": Op(_clip, "x min max"),
    "Pad": Op(_pad, "x pads fill"),
    "Resize": Op(_resize, "x roi scales sizes"), "Upsample": Op(_resize, "x scales"),
})  # fmt: skip
