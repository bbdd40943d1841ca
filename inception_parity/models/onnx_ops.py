"""ONNX's operators in shared words: kinds and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Settings, no_pads, same_pads
from .layouts import LAST, Tag, shared_axis

Array = NDArray[Any]

WEIGHTS = {  # the roles of what follows the first input
    "Conv": ("weight", "bias"),
    "ConvTranspose": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "MatMul": ("weight",),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
    "LayerNormalization": ("weight", "bias"),
    "InstanceNormalization": ("weight", "bias"),
    "PRelu": ("weight",),
}
_ACTIVATIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softmax": "softmax",
    "LogSoftmax": "log_softmax", "Softplus": "softplus", "Softsign": "softsign", "Elu": "elu",
    "Selu": "selu", "LeakyRelu": "leaky_relu", "HardSwish": "hard_swish", "Gelu": "gelu",
    "Abs": "abs", "Mish": "mish",
}  # fmt: skip
_PLAIN = {
    "Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "maximum",
    "Min": "minimum", "Flatten": "flatten", "Squeeze": "reshape", "Unsqueeze": "reshape",
    "Identity": "identity", "Slice": "slice", "Dropout": "dropout", "Cast": "cast",
}  # fmt: skip


def settings_of(
    op: str,
    attributes: Mapping[str, Any],
    given: Sequence[Array | None],
    x: Array,
    output: Array,
    tag: Tag,
) -> tuple[str, Settings]:
    """Return an operator's kind and settings.

    Args:
        op: ONNX's name of it.
        attributes: ONNX's.
        given: the inputs that are constants; None for others.
        x: the first input that isn't.
        output: what it gave.
        tag: the layout of `x`.
    """
    if op in _ACTIVATIONS:
        slope = {"slope": attributes["alpha"]} if "alpha" in attributes else {}
        return "act", {"function": _ACTIVATIONS[op], **slope}
    if op == "HardSigmoid":
        torchs = abs(attributes.get("alpha", 0.2) - 1 / 6) < 1e-6
        return "act", {"function": "hard_sigmoid"} if torchs else {
            "function": "hard_sigmoid_onnx", "slope": attributes.get("alpha", 0.2)}  # fmt: skip
    if op in _PLAIN:
        return _plain(op, given)
    if op in ("Conv", "ConvTranspose"):
        return _convolution(op, attributes, given, x)
    if op in ("MaxPool", "AveragePool"):
        return _pool(op, attributes, x)
    if op in ("GlobalAveragePool", "GlobalMaxPool"):
        return "global_pool", {"reduce": "mean" if "Average" in op else "max"}
    if op in ("ReduceMean", "ReduceMax"):
        return _reduced(op, attributes, given, x, tag)
    if op in ("Gemm", "MatMul"):
        return ("dense" if len(given) > 1 and given[1] is not None else op), {}
    if op == "BatchNormalization":
        return "norm", {"eps": attributes.get("epsilon", 1e-5)}
    if op == "LayerNormalization":
        return "layer_norm", {"eps": attributes.get("epsilon", 1e-5)}
    if op == "LRN":
        constants = {"alpha": attributes.get("alpha", 1e-4), "beta": attributes.get("beta", 0.75)}
        return "lrn", {"size": attributes["size"], "k": attributes.get("bias", 1.0), **constants}
    if op == "Concat":
        return "concat", {"axis": shared_axis(attributes["axis"], x.ndim, tag)}
    if op == "Reshape":
        return ("flatten" if output.ndim == 2 else "reshape"), {}
    if op == "Transpose":
        return "permute", {"order": tuple(attributes.get("perm", ()))}
    if op == "Clip":
        return _clip(given)
    if op == "Pad":
        return _pad(attributes, given, tag)
    return op, {}


def _plain(op: str, given: Sequence[Array | None]) -> tuple[str, Settings]:
    constants = [c for c in given if c is not None]
    number = len(constants) == 1 and constants[0].size == 1 and _PLAIN[op] in ("add", "sub", "mul",
                                                                               "div")  # fmt: skip
    return _PLAIN[op], {"scalar": float(constants[0].reshape(-1)[0])} if number else {}


def _convolution(
    op: str, attributes: Mapping[str, Any], given: Sequence[Array | None], x: Array
) -> tuple[str, Settings]:
    axes = x.ndim - 2
    weight = given[1]
    kernel = attributes.get("kernel_shape") or (weight.shape[2:] if weight is not None else ())
    settings = _window(attributes, tuple(kernel), x, axes)
    settings["groups"] = attributes.get("group", 1)
    return ("conv" if op == "Conv" else "conv_transpose"), settings


def _window(
    attributes: Mapping[str, Any], kernel: tuple[int, ...], x: Array, axes: int
) -> Settings:
    stride = tuple(attributes.get("strides") or (1,) * axes)
    dilation = tuple(attributes.get("dilations") or (1,) * axes)
    flat = attributes.get("pads") or [0] * (2 * axes)  # all befores, then all afters
    pads: Any = tuple(zip(flat[:axes], flat[axes:], strict=True))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto == "SAME_UPPER":
        pads = same_pads(x.shape[2:], kernel, stride, dilation)
    elif auto == "SAME_LOWER":
        pads = tuple((after, before) for before, after in
                     same_pads(x.shape[2:], kernel, stride, dilation))  # fmt: skip
    elif auto == "VALID":
        pads = no_pads(axes)
    return {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation}


def _pool(op: str, attributes: Mapping[str, Any], x: Array) -> tuple[str, Settings]:
    settings = _window(attributes, tuple(attributes["kernel_shape"]), x, x.ndim - 2)
    settings["ceil"] = bool(attributes.get("ceil_mode", 0))
    if op == "MaxPool":
        return "max_pool", settings
    settings["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
    return "avg_pool", settings


def _reduced(
    op: str, attributes: Mapping[str, Any], given: Sequence[Array | None], x: Array, tag: Tag
) -> tuple[str, Settings]:
    constant = given[1] if len(given) > 1 else None
    axes = attributes.get("axes", constant.reshape(-1).tolist() if constant is not None else [])
    where = sorted(shared_axis(int(axis), x.ndim, tag) for axis in axes)
    reduce = "mean" if op == "ReduceMean" else "max"
    if x.ndim > 2 and where == list(range(2, x.ndim)):
        return "global_pool", {"reduce": reduce}
    return reduce, {"axes": where}


def _clip(given: Sequence[Array | None]) -> tuple[str, Settings]:
    low, high = (None if c is None else float(np.reshape(c, -1)[0])
                 for c in (*given[1:3], None, None)[:2])  # fmt: skip
    if (low, high) in ((0.0, 6.0), (0.0, None)):
        return "act", {"function": "relu6" if high == 6.0 else "relu"}
    return "act", {"function": "clip", "low": low, "high": high}


def _pad(
    attributes: Mapping[str, Any], given: Sequence[Array | None], tag: Tag
) -> tuple[str, Settings]:
    flat = attributes.get("pads") or (given[1].tolist() if given[1] is not None else [])
    axes = len(flat) // 2
    pads = list(zip(flat[:axes], flat[axes:], strict=True))
    fill = given[2] if len(given) > 2 else None
    return "pad", {
        "pads": pads[1:-1] if tag == LAST else pads[2:],
        "mode": attributes.get("mode", b"constant").decode(),
        "fill": float(np.reshape(fill, -1)[0]) if fill is not None else 0.0,
    }
