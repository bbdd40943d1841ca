"""MXNet's operations as shared kinds and settings."""

from __future__ import annotations

import ast
from typing import Any

from . import kinds
from .layers import Settings
from .operations import Call, Described, Op, Operations, activation_called, arg, axis

_ARITHMETIC = {"add": "add", "plus": "add", "subtract": "sub", "minus": "sub", "sub": "sub",
               "multiply": "mul", "mul": "mul", "divide": "div", "div": "div",
               "true_divide": "div", "maximum": "maximum", "minimum": "minimum"}  # fmt: skip


def short(own: str) -> str:
    """Return an operation's name without the marks of MXNet's interfaces."""
    name = own.lower().strip("_")
    for prefix in ("npi_", "npx_", "np_", "sparse_", "broadcast_", "elemwise_", "contrib_"):
        name = name.removeprefix(prefix)
    return name.strip("_")


def value_of(given: Any) -> Any:
    """Return an attribute, which may come as text."""
    try:
        return ast.literal_eval(given) if isinstance(given, str) else given
    except (ValueError, SyntaxError):
        return given


def _window(call: Call, **dilation: Any) -> Settings:
    return kinds.window(
        call.given["kernel"], call.get("stride") or 1, call.get("pad") or 0, **dilation
    )


def _convolution(call: Call) -> Described:
    settings = _window(call, dilation=call.get("dilate") or 1)
    settings["groups"] = int(call.get("num_group", 1))
    if call.name == "convolution":
        return "conv", settings
    before = kinds.per_axis(call.get("pad") or 0, len(settings["kernel"]))
    sizes, output = call.x.shape[2:], call.output.shape[2:]
    return "conv_transpose", {**settings, "pads": kinds.whole_cut(sizes, output, settings, before)}


def _l2(call: Call) -> Described:
    """Over all of an image, its channels at each place, or each channel's places."""
    ndim = len(call.x.shape)
    over = {"channel": (1,), "spatial": tuple(range(2, ndim))}
    axes = over.get(str(call.get("mode", "instance")), tuple(range(1, ndim)))
    return "l2_normalize", {"axes": axes, "eps": call.get("eps", 1e-10), "rule": "added"}


def _pool(call: Call) -> Described:
    reduce = "max" if call.get("pool_type", "max") == "max" else "mean"
    if call.get("global_pool"):
        return "global_pool", {"reduce": reduce}
    ceil = call.get("pooling_convention") == "full"
    return kinds.window_pool(reduce, _window(call), ceil, call.get("count_include_pad", True))


def _activation(call: Call) -> Described:
    function = str(call.given["act_type"])
    return "act", {"function": activation_called(function) or function}


def _leaky(call: Call) -> Described:
    function = str(call.get("act_type", "leaky"))
    if function == "prelu":
        return "prelu", {}
    if function in ("leaky", "elu"):
        name = "leaky_relu" if function == "leaky" else "elu"
        return "act", {"function": name, "slope": float(call.get("slope", 0.25))}
    return "act", {"function": function}


def _adaptive(call: Call) -> Described:
    return kinds.adaptive_pool(call.get("output_size") or 1, call.x.shape[2:], "mean")


def _pad(call: Call) -> Described:
    flat = call.given["pad_width"]
    pads = list(zip(flat[::2], flat[1::2], strict=True))
    return kinds.zero_pad(pads, None, call.get("mode", "constant"), call.get("constant_value", 0.0))


def _resize(call: Call) -> Described:
    """Return a resize by its rule; bilinear aligns the corners unless told otherwise."""
    if call.name == "upsampling":
        rule = "nearest" if call.get("sample_type") == "nearest" else ""
    else:
        rule = "aligned" if call.get("align_corners", True) else "centres"
    return kinds.resize(call, rule, call.output.shape[2:])


def _slice_axis(call: Call) -> Described:
    where = int(call.given["axis"]) % len(call.x.shape)
    part = slice(call.get("begin"), call.get("end"))
    return kinds.indexed((*[slice(None)] * where, part), call)


_NORM = "data weight bias"

OPERATIONS = Operations({
    **{name: Op(kind) for name, kind in _ARITHMETIC.items()},
    **{f"{name}_scalar {name}scalar": Op(kind, scalar=arg("scalar", 0.0))
       for name, kind in _ARITHMETIC.items()},
    "convolution deconvolution": Op(_convolution, "data weight bias"),
    "pooling": _pool,
    "batchnorm": Op(
        "norm", f"{_NORM} running_mean running_var", eps=arg("eps", 1e-3),
        momentum=lambda call: 1 - float(call.get("momentum", 0.9)),
    ),
    "layernorm": Op(
        "layer_norm", _NORM, eps=arg("eps", 1e-5),
        axes=lambda call: (call.axis(call.get("axis", -1)),),
    ),
    "groupnorm": Op(
        lambda call: kinds.group_norm(int(call.get("num_groups", 1)), call.get("eps", 1e-5), call),
        _NORM,
    ),
    "instancenorm": Op("instance_norm", _NORM, eps=arg("eps", 1e-3)),
    "fullyconnected fully_connected": Op("dense", "data weight bias"),
    "embedding": Op("embedding", "data weight"),
    "activation": _activation,
    "leakyrelu": Op(_leaky, "data weight"),
    "hard_sigmoid": Op("act", function="hard_sigmoid", slope=arg("alpha", 0.2)),
    "softmax": Op("act", function="softmax", axis=axis("axis", -1)),
    "log_softmax": Op("act", function="log_softmax", axis=axis("axis", -1)),
    "clip": lambda call: kinds.clip(float(call.given["a_min"]), float(call.given["a_max"])),
    "lrn": Op("lrn", size=arg("nsize", int), k=arg("knorm", 2.0), alpha=arg("alpha", 1e-4),
              beta=arg("beta", 0.75)),
    "concat concatenate": Op("concat", axis=axis("dim axis", 1)),
    "adaptiveavgpooling2d": _adaptive,
    "l2normalization": _l2,
    "depth_to_space": Op("depth_to_space", block=arg("block_size", int), order="DCR"),
    "space_to_depth": Op("space_to_depth", block=arg("block_size", int), order="DCR"),
    "sum": kinds.reduction("sum", "axis"),
    "mean": kinds.reduction("mean", "axis"),
    "max": kinds.reduction("max", "axis"),
    "pad": _pad, "upsampling bilinearresize2d": _resize,
    "index": lambda call: kinds.indexed(call.given.get("key"), call),
    "slice_axis": _slice_axis,
    "slice slice_like basic_indexing": "slice",
    "flatten batch_flatten": "flatten",
    "reshape expand_dims squeeze": "reshape",
    "transpose swapaxis swapaxes": "permute",
    "sequencelast": Op("slice", axis=arg("axis", 0), index=-1),
    "flip reverse": Op("flip", axis=axis("axis")),
    "copy identity blockgrad": "identity",
    "cast astype": "cast",
    "dropout": "dropout",
})  # fmt: skip
