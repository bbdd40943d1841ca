"""ONNX's operators as shared kinds and settings."""

from __future__ import annotations

from . import kinds
from .layers import Settings
from .operations import Call, Described, Operations, arg, axis, op

_ARITHMETIC = {"Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}


def _scalar(call: Call) -> float | None:
    constants = [array for array in (call.get("a"), call.get("b")) if array is not None]
    return kinds.number(constants[0]) if len(constants) == 1 and constants[0].size == 1 else None


def _hard_sigmoid(call: Call) -> Described:
    slope = call.get("alpha", 0.2)
    if abs(slope - 1 / 6) < 1e-6:
        return "act", {"function": "hard_sigmoid"}
    return "act", {"function": "hard_sigmoid_onnx", "slope": slope}


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
    kind = "conv" if call.name == "Conv" else "conv_transpose"
    return kind, {**_window(call), "groups": call.get("group", 1)}


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


_NORM = "x weight bias"

OPERATORS = Operations({
    **{name: op(kind, "a b", scalar=_scalar) for name, kind in _ARITHMETIC.items()},
    "Max": "maximum", "Min": "minimum",
    "Flatten": "flatten", "Squeeze Unsqueeze": "reshape", "Reshape": kinds.reshape,
    "Identity": "identity", "Slice": "slice", "Dropout": "dropout", "Cast": "cast",
    "LeakyRelu": op("act", function="leaky_relu", slope=arg("alpha")),
    "Elu": op("act", function="elu", slope=arg("alpha")),
    "Celu": op("act", function="celu", slope=arg("alpha")),
    "Selu": op("act", function="selu", slope=arg("alpha")),
    "HardSigmoid": _hard_sigmoid,
    "Conv ConvTranspose": op(_convolution, "x weight bias"),
    "MaxPool AveragePool": _pool,
    "GlobalAveragePool": op("global_pool", reduce="mean"),
    "GlobalMaxPool": op("global_pool", reduce="max"),
    "ReduceMean": op(kinds.reduction("mean", "axes"), "x axes"),
    "ReduceMax": op(kinds.reduction("max", "axes"), "x axes"),
    "Gemm": op(kinds.dense, "x weight bias"),
    "MatMul": op(kinds.dense, "x weight"),
    "BatchNormalization": op(
        "norm", f"{_NORM} running_mean running_var", eps=arg("epsilon", 1e-5)
    ),
    "LayerNormalization": op("layer_norm", _NORM, eps=arg("epsilon", 1e-5)),
    "InstanceNormalization": op("InstanceNormalization", _NORM),
    "PRelu": op("PRelu", "x weight"),
    "LRN": op("lrn", size=arg("size"), k=arg("bias", 1.0), alpha=arg("alpha", 1e-4),
              beta=arg("beta", 0.75)),
    "Concat": op("concat", axis=axis("axis")),
    "Transpose": op("permute", order=arg("perm", ())),
    "Clip": op(_clip, "x min max"),
    "Pad": op(_pad, "x pads fill"),
})  # fmt: skip
