"""PyTorch's functions as shared kinds and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..diagnosis.forward import same_pads
from .kinds import (
    Described,
    activation_called,
    adaptive_pool,
    clip,
    reduced,
    window_pool,
    zero_pad,
)
from .layers import Settings, both_sides, no_pads, per_axis

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups",
               "dilation")  # fmt: skip
_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVG = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
        "divisor_override")  # fmt: skip

# The names of arguments, in order; of functions that aren't here none is needed.
SIGNATURES: dict[str, tuple[str, ...]] = {
    **{f"conv{n}d": _CONV for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _TRANSPOSED for n in (1, 2, 3)},
    **{f"max_pool{n}d": _POOL for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _AVG for n in (1, 2, 3)},
    **{f"adaptive_{reduce}_pool{n}d": ("input", "output_size") for n in (1, 2, 3)
       for reduce in ("avg", "max")},
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training",
                   "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias",
                      "use_input_stats", "momentum", "eps"),
    "local_response_norm": ("input", "size", "alpha", "beta", "k"),
    "embedding": ("input", "weight"),
    "prelu": ("input", "weight"),
    "cat": ("tensors", "dim"),
    "mean": ("input", "dim", "keepdim"),
    "amax": ("input", "dim", "keepdim"),
    "softmax": ("input", "dim"),
    "log_softmax": ("input", "dim"),
    "leaky_relu": ("input", "negative_slope"),
    "elu": ("input", "alpha"),
    "hardtanh": ("input", "min_val", "max_val"),
    "clamp": ("input", "min", "max"),
    "gelu": ("input", "approximate"),
    "dropout": ("input", "p", "training"),
    "pad": ("input", "pad", "mode", "value"),
    **dict.fromkeys(("add", "sub", "mul", "div", "rsub", "rdiv"), ("input", "other")),
}  # fmt: skip

ALIASES = {
    "concat": "cat", "concatenate": "cat", "hstack": "cat", "true_divide": "div", "divide": "div",
    "truediv": "div", "itruediv": "div", "iadd": "add", "radd": "add", "isub": "sub",
    "rsub": "rsub", "subtract": "sub", "imul": "mul", "rmul": "mul", "multiply": "mul",
    "rtruediv": "rdiv", "clip": "clamp", "alpha_dropout": "dropout", "dropout1d": "dropout",
    "dropout2d": "dropout", "dropout3d": "dropout", "feature_alpha_dropout": "dropout",
}  # fmt: skip

# Which arguments are weights, and their roles; elsewhere `weight` and `bias`.
_NORM = ("weight", "bias", "running_mean", "running_var")
WEIGHTS = {"batch_norm": _NORM, "instance_norm": _NORM}

_RESHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten", "view_as",
             "reshape_as")  # fmt: skip
_SAME = ("contiguous", "clone", "detach", "identity", "requires_grad", "alias")
_CASTS = ("to", "float", "double", "type", "type_as", "half", "bfloat16", "cpu", "cuda")
_ARITHMETIC = ("add", "sub", "mul", "div", "rsub", "rdiv", "maximum", "minimum", "matmul")


def settings_of(function: str, given: dict[str, Any], fed: Sequence[Any], output: Any) -> Described:
    """Return a call's kind and settings.

    Args:
        function: the function's name.
        given: its arguments, by name.
        fed: the tensors among them that aren't weights.
        output: what it gave.
    """
    activation = activation_called(function)
    if activation is not None:
        return "act", _activation(activation, given)
    if function in ("hardtanh", "clamp"):
        low, high = ("min_val", "max_val") if function == "hardtanh" else ("min", "max")
        return clip(given.get(low), given.get(high))
    if function in _RESHAPES:
        return ("flatten" if output.ndim == 2 else "reshape"), {}
    if function in _SAME:
        return "identity", {}
    if function in _CASTS:
        return "cast", {}
    if function in ("permute", "transpose", "swapaxes", "movedim", "t"):
        return "permute", {}
    if function in ("getitem", "narrow", "select"):
        return "slice", {}
    if function in _ARITHMETIC:
        return function, _scalar(given, fed)
    if function in ("mean", "amax"):
        return _reduced(function, given, fed[0])
    if function in SIGNATURES:
        return _windowed(function, given, fed)
    return function, {}


def _windowed(function: str, given: dict[str, Any], fed: Sequence[Any]) -> Described:
    """Return convolutions, pools, norms and other layers proper."""
    x = fed[0]
    if function.startswith("conv"):
        return _convolution(function, given, x)
    if function.startswith(("max_pool", "avg_pool")):
        return _pool(function, given, x)
    if function.startswith("adaptive"):
        axes, size = int(function[-2]), given["output_size"]
        size = tuple(size) if isinstance(size, (tuple, list)) else (size,) * axes
        output = [x.shape[-axes + i] if s is None else s for i, s in enumerate(size)]
        return adaptive_pool(output, "max" if "max" in function else "mean")
    if function == "linear":
        return "dense", {}
    if function == "batch_norm":
        batch = bool(given.get("training"))
        return "norm", {"eps": given.get("eps", 1e-5)} | ({"statistics": "batch"} if batch else {})
    if function == "local_response_norm":
        defaults = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
        return "lrn", {"size": given["size"]} | {k: given.get(k, v) for k, v in defaults.items()}
    if function == "cat":
        axis = int(given.get("dim", 0))
        return "concat", {"axis": axis % x.ndim}
    if function == "dropout":
        return ("act", {"function": "dropout"}) if given.get("training") else ("dropout", {})
    if function == "pad":
        return _pad(given, x)
    kept = {k: v for k, v in given.items() if isinstance(v, (int, float, str, tuple))}
    return function, kept


def _convolution(function: str, given: dict[str, Any], x: Any) -> Described:
    axes = int(function[-2])
    kernel = tuple(given["weight"].shape[2:])
    stride = per_axis(given.get("stride", 1), axes)
    dilation = per_axis(given.get("dilation", 1), axes)
    padding = given.get("padding", 0)
    pads = both_sides(padding, axes) if not isinstance(padding, str) else no_pads(axes)
    if padding == "same":
        pads = same_pads(x.shape[-axes:], kernel, stride, dilation)
    settings: Settings = {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation,
                          "groups": given.get("groups", 1)}  # fmt: skip
    if "transpose" in function:
        settings["output_padding"] = per_axis(given.get("output_padding", 0), axes)
        return "conv_transpose", settings
    return "conv", settings


def _pool(function: str, given: dict[str, Any], x: Any) -> Described:
    axes = int(function[-2])
    kernel = per_axis(given["kernel_size"], axes)
    stride = given.get("stride")
    window: Settings = {
        "kernel": kernel,
        "stride": kernel if stride is None or stride == [] else per_axis(stride, axes),
        "pads": both_sides(given.get("padding", 0), axes),
    }
    ceil = bool(given.get("ceil_mode", False))
    if function.startswith("max"):
        window["dilation"] = per_axis(given.get("dilation", 1), axes)
        return window_pool("max", window, ceil)
    kind, settings = window_pool("mean", window, ceil, bool(given.get("count_include_pad", True)))
    if given.get("divisor_override"):
        settings["divisor"] = given["divisor_override"]
    return kind, settings


def _reduced(function: str, given: dict[str, Any], x: Any) -> Described:
    dims = given.get("dim", given.get("axis"))
    dims = () if dims is None else dims if isinstance(dims, (tuple, list)) else (dims,)
    reduce = "mean" if function == "mean" else "max"
    return reduced(reduce, (int(d) % x.ndim for d in dims), x.ndim, function)


def _activation(name: str, given: dict[str, Any]) -> Settings:
    if name == "gelu" and given.get("approximate", "none") == "tanh":
        return {"function": "gelu_tanh"}
    if name == "leaky_relu":
        return {"function": name, "slope": given.get("negative_slope", 0.01)}
    if name == "elu":
        return {"function": name, "slope": given.get("alpha", 1.0)}
    return {"function": name}


def _scalar(given: dict[str, Any], fed: Sequence[Any]) -> Settings:
    """Return the number that a tensor is added to or multiplied with, if it is one."""
    return {} if len(fed) > 1 else {"scalar": given["other"]} if "other" in given else {}


def _pad(given: dict[str, Any], x: Any) -> Described:
    """torch states the last axis first."""
    flat = [int(side) for side in given["pad"]]
    pads = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)][::-1]
    return zero_pad(pads, given.get("mode", "constant"), given.get("value") or 0.0)
