"""MXNet's operations in shared words: kinds and settings."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

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
_RENAMED = {"softrelu": "softplus"}
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
) -> tuple[str, Settings]:
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
        return _pool(get, x)
    if name == "batchnorm":
        return "norm", {"eps": float(get.get("eps", 1e-3))}
    if name in ("layernorm", "groupnorm", "instancenorm"):
        return f"{name.removesuffix('norm')}_norm", {"eps": float(get.get("eps", 1e-5))}
    if name in ("fullyconnected", "fully_connected"):
        return "dense", {}
    if name == "activation" or name in _ACTIVATIONS:
        function = str(get.get("act_type", name))
        return "act", {"function": _RENAMED.get(function, function)}
    if name == "leakyrelu":
        return _leaky(get)
    if name == "clip":
        low, high = float(get["a_min"]), float(get["a_max"])
        relu6 = (low, high) == (0.0, 6.0)
        return "act", {"function": "relu6"} if relu6 else {
            "function": "clip", "low": low, "high": high}  # fmt: skip
    if name == "lrn":
        defaults = {"alpha": 1e-4, "beta": 0.75}
        settings: Settings = {key: float(get.get(key, usual)) for key, usual in defaults.items()}
        return "lrn", {"size": int(get["nsize"]), "k": float(get.get("knorm", 2.0)), **settings}
    if name in ("concat", "concatenate"):
        return "concat", {"axis": int(get.get("dim", get.get("axis", 1))) % x.ndim}
    if name == "adaptiveavgpooling2d":
        output = per_axis(get.get("output_size", 1) or 1, 2)
        reduce = {"reduce": "mean"}
        return ("global_pool", reduce) if set(output) == {1} else (
            "adaptive_pool", {"output": output, **reduce})  # fmt: skip
    if name in ("mean", "max"):
        return _reduced(name, get, x)
    if name == "pad":
        return _pad(get)
    if name in ("slice", "slice_axis", "slice_like", "basic_indexing"):
        return "slice", {}
    return _arithmetic(name, get)


def _arithmetic(name: str, get: Mapping[str, Any]) -> tuple[str, Settings]:
    scalar = name.removesuffix("_scalar").removesuffix("scalar")
    if scalar != name and scalar in _PLAIN:
        return _PLAIN[scalar], {"scalar": float(get.get("scalar", 0.0))}
    return _PLAIN.get(name) or _MOVES.get(name) or name, {}


def _convolution(name: str, get: Mapping[str, Any]) -> tuple[str, Settings]:
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


def _pool(get: Mapping[str, Any], x: Any) -> tuple[str, Settings]:
    how = str(get.get("pool_type", "max"))
    if get.get("global_pool"):
        return "global_pool", {"reduce": "max" if how == "max" else "mean"}
    kernel = tuple(get["kernel"])
    axes = len(kernel)
    settings: Settings = {
        "kernel": kernel,
        "stride": per_axis(get.get("stride") or 1, axes),
        "pads": both_sides(get.get("pad") or 0, axes),
        "ceil": get.get("pooling_convention", "valid") == "full",
    }
    if how == "max":
        return "max_pool", {**settings, "dilation": (1,) * axes}
    counts = get.get("count_include_pad")
    return "avg_pool", {**settings, "count_include_pad": counts in (None, True)}


def _leaky(get: Mapping[str, Any]) -> tuple[str, Settings]:
    how = str(get.get("act_type", "leaky"))
    if how == "prelu":
        return "prelu", {}
    function = "leaky_relu" if how == "leaky" else how
    return "act", {"function": function, "slope": float(get.get("slope", 0.25))}


def _reduced(name: str, get: Mapping[str, Any], x: Any) -> tuple[str, Settings]:
    axis = get.get("axis")
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    where = sorted(int(a) % x.ndim for a in axes)
    if x.ndim > 2 and where == list(range(2, x.ndim)):
        return "global_pool", {"reduce": name}
    return name, {"axes": where}


def _pad(get: Mapping[str, Any]) -> tuple[str, Settings]:
    flat = [int(side) for side in get["pad_width"]]
    pads = [tuple(flat[i : i + 2]) for i in range(0, len(flat), 2)][2:]
    return "pad", {
        "pads": pads,
        "mode": str(get.get("mode", "constant")),
        "fill": float(get.get("constant_value", 0.0)),
    }
