"""MXNet's operations as shared kinds and settings."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from .kinds import (
    Described,
    activation_called,
    adaptive_pool,
    clip,
    reduced,
    window_pool,
    zero_pad,
)
from .layers import Settings, both_sides, per_axis

_NORM = ("weight", "bias", "running_mean", "running_var")
WEIGHTS = {  # the roles of what follows the first input
    "Convolution": ("weight", "bias"),
    "Deconvolution": ("weight", "bias"),
    "FullyConnected": ("weight", "bias"),
    "BatchNorm": _NORM,
    "LayerNorm": ("weight", "bias"),
    "GroupNorm": ("weight", "bias"),
    "InstanceNorm": ("weight", "bias"),
    "Embedding": ("weight",),
}

_ACTIVATIONS = ("relu", "sigmoid", "tanh", "softrelu", "softsign", "softmax", "log_softmax",
                "abs")  # fmt: skip
_PLAIN = {"add": "add", "plus": "add", "subtract": "sub", "minus": "sub", "sub": "sub",
          "multiply": "mul", "mul": "mul", "divide": "div", "div": "div", "true_divide": "div",
          "maximum": "maximum", "minimum": "minimum"}  # fmt: skip
_MOVES = {"flatten": "flatten", "batch_flatten": "flatten", "reshape": "reshape",
          "expand_dims": "reshape", "squeeze": "reshape", "transpose": "permute",
          "copy": "identity", "identity": "identity", "blockgrad": "identity",
          "cast": "cast", "astype": "cast", "dropout": "dropout"}  # fmt: skip


def short(own: str) -> str:
    """Return an operation's name without the marks of MXNet's interfaces."""
    name = own.lower().strip("_")
    for prefix in ("npi_", "npx_", "np_", "sparse_", "broadcast_", "elemwise_", "contrib_"):
        name = name.removeprefix(prefix)
    return name.strip("_")


def value_of(given: Any) -> Any:
    """Return an attribute, which may come as text."""
    if isinstance(given, str):
        try:
            return ast.literal_eval(given)
        except (ValueError, SyntaxError):
            return given
    return given


def settings_of(
    own: str, attributes: Mapping[str, Any], fed: Sequence[Any], given: Sequence[Any]
) -> Described:
    """Return an operation's kind and settings.

    Args:
        own: MXNet's name of it.
        attributes: MXNet's.
        fed: the inputs that aren't parameters.
        given: all inputs.
    """
    name = short(own)
    get = {key: value_of(value) for key, value in attributes.items()}
    x = fed[0]
    if name in ("convolution", "deconvolution"):
        return _convolution(name, get)
    if name == "pooling":
        return _pool(get)
    if name == "batchnorm":
        return "norm", {"eps": float(get.get("eps", 1e-3))}
    if name in ("layernorm", "groupnorm", "instancenorm"):
        return f"{name.removesuffix('norm')}_norm", {"eps": float(get.get("eps", 1e-5))}
    if name in ("fullyconnected", "fully_connected"):
        return "dense", {}
    if name == "activation" or name in _ACTIVATIONS:
        function = str(get.get("act_type", name))
        return "act", {"function": activation_called(function) or function}
    if name == "leakyrelu":
        return _leaky(get)
    if name == "clip":
        return clip(float(get["a_min"]), float(get["a_max"]))
    if name == "lrn":
        defaults = {"alpha": 1e-4, "beta": 0.75}
        settings: Settings = {key: float(get.get(key, usual)) for key, usual in defaults.items()}
        return "lrn", {"size": int(get["nsize"]), "k": float(get.get("knorm", 2.0)), **settings}
    if name in ("concat", "concatenate"):
        return "concat", {"axis": int(get.get("dim", get.get("axis", 1))) % x.ndim}
    if name == "adaptiveavgpooling2d":
        return adaptive_pool(per_axis(get.get("output_size", 1) or 1, 2), "mean")
    if name in ("mean", "max"):
        return _reduced(name, get, x)
    if name == "pad":
        return _pad(get)
    if name in ("slice", "slice_axis", "slice_like", "basic_indexing"):
        return "slice", {}
    return _arithmetic(name, get)


def _arithmetic(name: str, get: Mapping[str, Any]) -> Described:
    scalar = name.removesuffix("_scalar").removesuffix("scalar")
    if scalar != name and scalar in _PLAIN:
        return _PLAIN[scalar], {"scalar": float(get.get("scalar", 0.0))}
    return _PLAIN.get(name) or _MOVES.get(name) or name, {}


def _convolution(name: str, get: Mapping[str, Any]) -> Described:
    kernel = tuple(get["kernel"])
    axes = len(kernel)
    settings: Settings = {
        "kernel": kernel,
        "stride": per_axis(get.get("stride") or 1, axes),
        "pads": both_sides(get.get("pad") or 0, axes),
        "dilation": per_axis(get.get("dilate") or 1, axes),
        "groups": int(get.get("num_group", 1)),
    }
    return ("conv" if name == "convolution" else "conv_transpose"), settings


def _pool(get: Mapping[str, Any]) -> Described:
    reduce = "max" if get.get("pool_type", "max") == "max" else "mean"
    if get.get("global_pool"):
        return "global_pool", {"reduce": reduce}
    kernel = tuple(get["kernel"])
    window: Settings = {
        "kernel": kernel,
        "stride": per_axis(get.get("stride") or 1, len(kernel)),
        "pads": both_sides(get.get("pad") or 0, len(kernel)),
    }
    counts = get.get("count_include_pad") in (None, True)
    return window_pool(reduce, window, get.get("pooling_convention", "valid") == "full", counts)


def _leaky(get: Mapping[str, Any]) -> Described:
    function = str(get.get("act_type", "leaky"))
    if function == "prelu":
        return "prelu", {}
    function = "leaky_relu" if function == "leaky" else function
    return "act", {"function": function, "slope": float(get.get("slope", 0.25))}


def _reduced(name: str, get: Mapping[str, Any], x: Any) -> Described:
    axis = get.get("axis")
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return reduced(name, (int(a) % x.ndim for a in axes), x.ndim)


def _pad(get: Mapping[str, Any]) -> Described:
    flat = [int(side) for side in get["pad_width"]]
    pads = [tuple(flat[i : i + 2]) for i in range(0, len(flat), 2)][2:]
    mode, fill = str(get.get("mode", "constant")), float(get.get("constant_value", 0.0))
    return zero_pad(pads, mode, fill)
