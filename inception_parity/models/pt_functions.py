"""PyTorch's functions as shared kinds and settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import kinds
from .operations import Call, Described, Op, Operations, arg, axis

# Functions that are called by several names.
ALIASES = {
    "concat": "cat", "concatenate": "cat", "hstack": "cat", "true_divide": "div", "divide": "div",
    "truediv": "div", "itruediv": "div", "iadd": "add", "radd": "add", "isub": "sub",
    "subtract": "sub", "imul": "mul", "rmul": "mul", "multiply": "mul", "rtruediv": "rdiv",
    "clip": "clamp", "alpha_dropout": "dropout", "dropout1d": "dropout", "dropout2d": "dropout",
    "dropout3d": "dropout", "feature_alpha_dropout": "dropout",
}  # fmt: skip


def _as_given(call: Call) -> Described:
    """Keep the arguments as they are, of what is of a kind of its own."""
    kept = {k: v for k, v in call.given.items() if isinstance(v, (int, float, str, tuple))}
    return call.name, kept


def _scalar(call: Call) -> Any:
    """Return the number that a tensor is added to or multiplied by, if it is one."""
    return call.given.get("other") if len(call.fed) == 1 else None


def _axes(call: Call) -> int:
    return int(call.name[-2])  # conv2d


def _convolution(call: Call) -> Described:
    axes = _axes(call)
    settings = kinds.window(
        call.given["weight"].shape[2:], call.get("stride", 1), call.get("padding", 0),
        call.get("dilation", 1), call.x.shape[-axes:],
    )  # fmt: skip
    settings["groups"] = call.get("groups", 1)
    if "transpose" in call.name:
        before = kinds.per_axis(call.get("padding", 0), axes)
        sizes, output = call.x.shape[-axes:], call.output.shape[-axes:]
        return "conv_transpose", {
            **settings,
            "pads": kinds.whole_cut(sizes, output, settings, before),
        }
    return "conv", settings


def _pool(call: Call) -> Described:
    kernel = kinds.per_axis(call.given["kernel_size"], _axes(call))
    stride, padding = call.get("stride") or kernel, call.get("padding", 0)
    ceil = call.get("ceil_mode")
    if call.name.startswith("max"):
        return kinds.window_pool(
            "max", kinds.window(kernel, stride, padding, call.get("dilation", 1)), ceil
        )
    counts = call.get("count_include_pad", True)
    kind, settings = kinds.window_pool("mean", kinds.window(kernel, stride, padding), ceil, counts)
    divisor = call.get("divisor_override")
    return kind, settings | ({"divisor": divisor} if divisor else {})


def _adaptive(call: Call) -> Described:
    reduce = "max" if "max" in call.name else "mean"
    return kinds.adaptive_pool(call.given["output_size"], call.x.shape[-_axes(call) :], reduce)


def _axes_of(call: Call) -> tuple[int, ...]:
    return kinds.last_axes(call, len(call.given["normalized_shape"]))


def _rms_eps(call: Call) -> float:
    """Without an eps, torch takes the dtype's own, 1.2e-7 in float32."""
    usual = {"torch.float64": 2.0**-52, "torch.float32": 2.0**-23}
    return float(call.get("eps", usual.get(str(call.x.dtype), 2.0**-23)))


def _instance_norm(call: Call) -> Described:
    if call.get("use_input_stats", True):
        return "instance_norm", {"eps": call.get("eps", 1e-5)}
    return "norm", {"eps": call.get("eps", 1e-5)}


def _gelu(call: Call) -> str:
    return "gelu_tanh" if call.get("approximate") == "tanh" else "gelu"


_RESIZES = {
    "nearest": "nearest", "nearest-exact": "nearest-centres", "bilinear": "centres",
    "bicubic": "bicubic", "area": "area",
}  # fmt: skip


def _resize(call: Call) -> Described:
    """Return a resize by its rule; a factor that isn't that of the sizes has none of ours."""
    before, after = (tuple(int(side) for side in t.shape[2:]) for t in (call.x, call.output))
    factors = kinds.per_axis(call.get("scale_factor", 1), len(before))
    exact = call.get("scale_factor") is None or call.get("recompute_scale_factor") or all(
        side * factor == made for side, factor, made in zip(before, factors, after, strict=True)
    )  # fmt: skip
    rule = _RESIZES.get(str(call.get("mode", "nearest")), "")
    if call.get("align_corners"):
        rule = "aligned" if rule == "centres" else ""
    elif call.get("antialias"):
        rule = {"centres": "antialiased", "bicubic": "bicubic-antialiased"}.get(rule, "")
    return kinds.resize(call, rule, after) if exact else _as_given(call)


def _factor(call: Call) -> int:
    return int(call.get("factor upscale_factor downscale_factor"))


def _normalize(call: Call) -> Described:
    if float(call.get("p", 2.0)) != 2:
        return call.name, {}
    axes = [call.axis(axis) for axis in np.ravel(call.get("dim", 1))]
    return "l2_normalize", {"axes": axes, "eps": call.get("eps", 1e-12), "rule": "length"}


_MODES = {"replicate": "edge", "circular": "wrap"}  # as NumPy calls them


def _dropout(call: Call) -> Described:
    return ("act", {"function": "dropout"}) if call.get("training") else ("dropout", {})


def _pad(call: Call) -> Described:
    """torch states the last axis first."""
    flat = [int(side) for side in call.given["pad"]]
    pads = list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    mode, fill = call.get("mode", "constant"), call.get("value", 0.0)
    return "pad", {"pads": pads, "mode": _MODES.get(mode, mode), "fill": fill}


FUNCTIONS = Operations({
    "conv#d": Op(_convolution, "input weight bias stride padding dilation groups"),
    "conv_transpose#d": Op(
        _convolution, "input weight bias stride padding output_padding groups dilation"
    ),
    "max_pool#d": Op(_pool, "input kernel_size stride padding dilation ceil_mode"),
    "avg_pool#d": Op(
        _pool, "input kernel_size stride padding ceil_mode count_include_pad divisor_override"
    ),
    "adaptive_avg_pool#d adaptive_max_pool#d": Op(_adaptive, "input output_size"),
    "linear": Op("dense", "input weight bias"),
    "batch_norm": Op(
        "norm", "input running_mean running_var weight bias training momentum eps",
        eps=arg("eps", 1e-5), momentum=arg("momentum"),
        statistics=lambda call: "batch" if call.get("training") else None,
    ),
    "layer_norm": Op(
        "layer_norm", "input normalized_shape weight bias eps", eps=arg("eps", 1e-5), axes=_axes_of
    ),
    "rms_norm": Op(
        "rms_norm", "input normalized_shape weight eps", eps=_rms_eps, axes=_axes_of
    ),
    "group_norm": Op(
        lambda call: kinds.group_norm(int(call.given["num_groups"]), call.get("eps", 1e-5), call),
        "input num_groups weight bias eps",
    ),
    "instance_norm": Op(
        _instance_norm,
        "input running_mean running_var weight bias use_input_stats momentum eps",
    ),
    "local_response_norm": Op(
        "lrn", "input size alpha beta k",
        size=arg("size"), alpha=arg("alpha", 1e-4), beta=arg("beta", 0.75), k=arg("k", 1.0),
    ),
    "embedding": Op("embedding", "input weight"),
    "prelu": Op("prelu", "input weight"),
    "softmax": Op("act", "input dim", function="softmax", axis=axis("dim", 1)),
    "log_softmax": Op("act", "input dim", function="log_softmax", axis=axis("dim", 1)),
    "hardsigmoid": Op("act", function="hard_sigmoid", slope=1 / 6),
    "celu": Op("act", "input alpha", function="celu", slope=arg("alpha", 1.0)),
    "cat": Op("concat", "tensors dim", axis=axis("dim", 0)),
    "mean": Op(kinds.reduction("mean", "dim axis"), "input dim keepdim"),
    "sum": Op(kinds.reduction("sum", "dim axis"), "input dim keepdim"),
    "normalize": Op(_normalize, "input p dim eps"),
    "pixel_shuffle": Op("depth_to_space", "input factor", block=_factor, order="CRD"),
    "pixel_unshuffle": Op("space_to_depth", "input factor", block=_factor, order="CRD"),
    "flip": Op("flip", "input dims", axis=lambda call: int(np.ravel(call.get("dims"))[0])),
    "amax": Op(kinds.reduction("max", "dim axis", "amax"), "input dim keepdim"),
    "leaky_relu": Op(
        "act", "input negative_slope", function="leaky_relu", slope=arg("negative_slope", 0.01)
    ),
    "elu": Op("act", "input alpha", function="elu", slope=arg("alpha", 1.0)),
    "gelu": Op("act", "input approximate", function=_gelu),
    "hardtanh": Op(
        lambda call: kinds.clip(call.get("min_val"), call.get("max_val")), "input min_val max_val"
    ),
    "clamp": Op(lambda call: kinds.clip(call.get("min"), call.get("max")), "input min max"),
    "dropout": Op(_dropout, "input p training"),
    "pad": Op(_pad, "input pad mode value"),
    **{name: Op(name, "input other", scalar=_scalar)
       for name in ("add", "sub", "mul", "div", "rsub", "rdiv")},
    **{name: Op(name, scalar=_scalar) for name in ("maximum", "minimum", "matmul")},
    "flatten view reshape squeeze unsqueeze unflatten view_as reshape_as": kinds.reshape,
    "contiguous clone detach identity requires_grad alias": "identity",
    "to float double type type_as half bfloat16 cpu cuda": "cast",
    "permute transpose swapaxes movedim t": "permute",
    "getitem": Op(lambda call: kinds.indexed(call.given.get("index"), call), "input index"),
    "select": Op(
        lambda call: kinds.taken(int(call.get("dim")), int(call.get("index")), call),
        "input dim index",
    ),
    "narrow": "slice",
    "interpolate": Op(_resize, "input size scale_factor mode align_corners"),
})  # fmt: skip
