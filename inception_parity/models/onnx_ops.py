"""ONNX's operators as shared kinds and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..diagnosis.forward import same_pads
from .kinds import Described, activation_called, clip, reduced, window_pool, zero_pad
from .layers import Settings, no_pads
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
) -> Described:
    """Return an operator's kind and settings.

    Args:
        op: ONNX's name of it.
        attributes: ONNX's.
        given: the inputs that are constants; None for others.
        x: the first input that isn't.
        output: what it gave.
        tag: the layout of `x`.
    """
    activation = activation_called(op)
    if activation is not None:
        return "act", _activation(activation, attributes)
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


def _activation(name: str, attributes: Mapping[str, Any]) -> Settings:
    if name != "hard_sigmoid":
        slope = {"slope": attributes["alpha"]} if "alpha" in attributes else {}
        return {"function": name, **slope}
    slope = attributes.get("alpha", 0.2)
    if abs(slope - 1 / 6) < 1e-6:
        return {"function": name}
    return {"function": "hard_sigmoid_onnx", "slope": slope}


def _plain(op: str, given: Sequence[Array | None]) -> Described:
    constants = [c for c in given if c is not None]
    number = len(constants) == 1 and constants[0].size == 1 and _PLAIN[op] in ("add", "sub", "mul",
                                                                               "div")  # fmt: skip
    return _PLAIN[op], {"scalar": float(constants[0].reshape(-1)[0])} if number else {}


def _convolution(
    op: str, attributes: Mapping[str, Any], given: Sequence[Array | None], x: Array
) -> Described:
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


def _pool(op: str, attributes: Mapping[str, Any], x: Array) -> Described:
    window = _window(attributes, tuple(attributes["kernel_shape"]), x, x.ndim - 2)
    counts = bool(attributes.get("count_include_pad", 0))
    reduce = "max" if op == "MaxPool" else "mean"
    return window_pool(reduce, window, bool(attributes.get("ceil_mode", 0)), counts)


def _reduced(
    op: str, attributes: Mapping[str, Any], given: Sequence[Array | None], x: Array, tag: Tag
) -> Described:
    constant = given[1] if len(given) > 1 else None
    axes = attributes.get("axes", constant.reshape(-1).tolist() if constant is not None else [])
    over = (shared_axis(int(axis), x.ndim, tag) for axis in axes)
    return reduced("mean" if op == "ReduceMean" else "max", over, x.ndim)


def _clip(given: Sequence[Array | None]) -> Described:
    low, high = (None if c is None else float(np.reshape(c, -1)[0])
                 for c in (*given[1:3], None, None)[:2])  # fmt: skip
    return clip(low, high)


def _pad(attributes: Mapping[str, Any], given: Sequence[Array | None], tag: Tag) -> Described:
    flat = attributes.get("pads") or (given[1].tolist() if given[1] is not None else [])
    axes = len(flat) // 2
    pads = list(zip(flat[:axes], flat[axes:], strict=True))
    fill = given[2] if len(given) > 2 else None
    return zero_pad(
        pads[1:-1] if tag == LAST else pads[2:],
        attributes.get("mode", b"constant").decode(),
        float(np.reshape(fill, -1)[0]) if fill is not None else 0.0,
    )
