"""Keras' layers as shared kinds, settings and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kinds
from .layers import Settings
from .layouts import LAST, Tag, flat_to_first, flat_to_last
from .operations import Call, Described, Op, Operations, activation_called, arg, axis
from .recorder import Slot

Array = NDArray[Any]

# Keras' own layers whose inside is looked at: they hold others, or do two things at once.
_OPENED = ("Functional", "Sequential", "Model", "SeparableConv1D", "SeparableConv2D",
           "TimeDistributed", "Wrapper", "SpectralNormalization")  # fmt: skip

_FUSING = ("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D",
           "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")  # fmt: skip


def is_layer(layer: Any) -> bool:
    """Return whether it is one of Keras' own layers, rather than a model or the user's."""
    own = type(layer).__module__.startswith(("keras.src.layers", "keras.layers"))
    return own and type(layer).__name__ not in _OPENED


def fused_activation(layer: Any) -> Callable[[Any], Any] | None:
    """Return the activation that a layer ends with, if it isn't one itself and has one."""
    function = vars(layer).get("activation")
    linear = getattr(function, "__name__", "") == "linear"
    plain = type(layer).__name__ in _FUSING
    return function if plain and callable(function) and not linear else None


def activation(function: Any, call: Call | None = None) -> Settings:
    """Return the settings of an activation function; `call` tells of which axes its input has."""
    name = getattr(function, "__name__", type(function).__name__)
    shared = activation_called(name) or name
    if shared in ("softmax", "log_softmax") and call is not None:
        return {"function": shared, "axis": call.axis(-1)}
    return {"function": shared, **_SLOPES.get(shared, {})}


_SLOPES: Mapping[str, Settings] = {
    "hard_sigmoid": {"slope": 1 / 6}, "leaky_relu": {"slope": 0.2}, "elu": {"slope": 1.0},
}  # fmt: skip


def _sizes(call: Call) -> tuple[int, ...]:
    """Return the input's sizes along the spatial axes."""
    sizes = tuple(int(side) for side in call.x.shape)
    return sizes[1:-1] if call.get("data_format") == "channels_last" else sizes[2:]


def _convolution(call: Call) -> Described:
    settings = kinds.window(
        call.given["kernel_size"], call.get("strides"), call.get("padding"),
        call.get("dilation_rate"), _sizes(call),
    )  # fmt: skip
    channels = int(call.x.shape[-1 if call.get("data_format") == "channels_last" else 1])
    depthwise = call.name.startswith("Depthwise")
    return "conv", {**settings, "groups": channels if depthwise else call.get("groups")}


def _transposed(call: Call) -> Described:
    settings = kinds.window(
        call.given["kernel_size"], call.get("strides"), 0, call.get("dilation_rate")
    )
    last = call.get("data_format") == "channels_last"
    shape = tuple(call.output.shape)
    output = shape[1:-1] if last else shape[2:]
    before = None if str(call.get("padding")).lower() == "same" else (0,) * len(output)
    pads = kinds.whole_cut(_sizes(call), output, settings, before)
    return "conv_transpose", {**settings, "groups": 1, "pads": pads}


def _cropping(call: Call) -> Described:
    pads = call.given["cropping"]
    pads = pads if isinstance(pads[0], tuple) else (pads,)
    sizes = _sizes(call)
    ranges = {
        str(i + 2): (before, size - after, 1)
        for i, ((before, after), size) in enumerate(zip(pads, sizes, strict=True))
        if before or after
    }
    return ("slice", {"ranges": ranges}) if ranges else ("identity", {})


def _momentum(call: Call) -> float:
    """Return the new batch's share of the running statistics, as torch states it."""
    return 1 - float(call.get("momentum", 0.99))


def _axes(call: Call) -> tuple[int, ...]:
    return tuple(sorted(call.axis(axis) for axis in np.ravel(call.get("axis", -1))))


def _layer_norm(call: Call) -> Described:
    kind = "rms_norm" if call.get("rms_scaling") else "layer_norm"
    return kind, {"eps": call.given["epsilon"], "axes": _axes(call)}


def _reduce(call: Call) -> str:
    return "mean" if "Average" in call.name else "max"


def _pool(call: Call) -> Described:
    pool = call.given["pool_size"]
    settings = kinds.window(pool, call.get("strides"), call.get("padding"), sizes=_sizes(call))
    return kinds.window_pool(_reduce(call), settings)


def _adaptive(call: Call) -> Described:
    return kinds.adaptive_pool(call.given["output_size"], _sizes(call), _reduce(call))


def _relu(call: Call) -> Described:
    slope, threshold = (float(call.get(name)) for name in ("negative_slope", "threshold"))
    high = call.get("max_value")
    if slope or threshold:
        limits = {"slope": slope, "threshold": threshold, "high": high}
        return "act", {"function": "leaky_relu", **limits}
    return kinds.clip(0.0, high)


_RESIZES = {"nearest": "nearest", "bilinear": "centres", "bicubic": "bicubic-table"}


def _resize(call: Call) -> Described:
    """Return a resize by its rule. Enlarged by a whole factor, both rules of the nearest agree."""
    rule = _RESIZES.get(str(call.get("interpolation")), "")
    if call.name == "Resizing":
        rule = "nearest-centres" if rule == "nearest" else rule
        if call.get("antialias") or call.get("crop_to_aspect_ratio"):
            rule = ""
    last = call.get("data_format") == "channels_last"
    return kinds.resize(call, rule, call.output.shape[1:3] if last else call.output.shape[2:])


def _zero_pad(call: Call) -> Described:
    pads = call.given["padding"]
    pads = pads if isinstance(pads[0], tuple) else (pads,)
    return "pad", {"pads": pads, "mode": "constant", "fill": 0.0}


LAYERS = Operations({
    "Add": "add", "Subtract": "sub", "Multiply": "mul", "Average": "average",
    "Maximum": "maximum", "Minimum": "minimum",
    "Concatenate": Op("concat", axis=axis("axis")),
    "Conv#D DepthwiseConv#D": _convolution,
    "Conv#DTranspose": _transposed,
    "MaxPooling#D AveragePooling#D": _pool,
    "GlobalMaxPooling#D GlobalAveragePooling#D": Op("global_pool", reduce=_reduce),
    "AdaptiveMaxPooling#D AdaptiveAveragePooling#D": _adaptive,
    "Activation": lambda call: ("act", activation(call.given["activation"], call)),
    "ReLU": _relu,
    "LeakyReLU": Op("act", function="leaky_relu", slope=arg("negative_slope", float)),
    "ELU": Op("act", function="elu", slope=arg("alpha", float)),
    "Softmax": Op("act", function="softmax", axis=axis("axis", -1)),
    "PReLU": "prelu",
    "Embedding": "embedding",
    "Dense": "dense",
    "BatchNormalization": Op("norm", eps=arg("epsilon"), momentum=_momentum),
    "LayerNormalization": _layer_norm,
    "RMSNormalization": Op("rms_norm", eps=arg("epsilon"), axes=_axes),
    "GroupNormalization": lambda call: kinds.group_norm(
        int(call.given["groups"]), call.given["epsilon"], call
    ),
    "UpSampling2D Resizing": _resize,
    "ZeroPadding#D": _zero_pad,
    "Cropping#D": _cropping,
    "UnitNormalization": Op(
        "l2_normalize", axes=_axes, eps=1e-12, rule="length",
    ),
    "Permute": Op("permute", order=lambda call: (0, *call.given["dims"])),
    "Rescaling": Op("affine", scale=arg("scale"), shift=arg("offset")),
    "Flatten": "flatten", "Reshape": "reshape", "Identity InputLayer": "identity",
    "Dropout SpatialDropout#D AlphaDropout GaussianDropout": "dropout",
})  # fmt: skip

_ROLES = {"bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
          "moving_variance": "running_var", "embeddings": "weight", "alpha": "weight",
          "scale": "weight"}  # fmt: skip


def weights_of(layer: Any, kind: str, tag: Tag) -> dict[str, Slot]:
    """Return role -> parameter of one of Keras' layers."""
    found: dict[str, Slot] = {}
    kernel = getattr(layer, "kernel", None) if hasattr(layer, "kernel_size") or kind == "dense" \
        else None  # fmt: skip
    if kernel is not None:
        variable = layer._kernel if hasattr(layer, "_kernel") else kernel
        found["weight"] = kernel_slot(variable, type(layer).__name__, kind, tag)
    for name, role in _ROLES.items():
        variable = getattr(layer, name, None)
        if variable is not None and hasattr(variable, "_value"):
            found[role] = Slot(id(variable), variable.numpy())
    if kind == "prelu":
        found["weight"] = _slopes(layer.alpha, tag)
    return found


def _slopes(variable: Any, tag: Tag) -> Slot:
    """Return PReLU's slopes, for each channel if the other axes share them."""
    array: Array = variable.numpy()
    first = np.moveaxis(array, -1, 0) if tag == LAST else array
    shape = (-1,) if first.size == first.shape[0] else first.shape
    back = (lambda a: np.moveaxis(a.reshape(first.shape), 0, -1)) if tag == LAST else \
        (lambda a: a.reshape(first.shape))  # fmt: skip
    return Slot(id(variable), first.reshape(shape), back)


def kernel_slot(variable: Any, own: str, kind: str, tag: Tag) -> Slot:
    """Return a kernel in the shared layout: OIHW, (out, in), with the way back."""
    array: Array = variable.numpy()
    axes = array.ndim - 2
    if kind == "dense" and isinstance(tag, tuple) and int(np.prod(tag)) == len(array):
        shared = flat_to_first(array.T, tag)  # flattened as (…, C)
        return Slot(id(variable), shared, lambda a: flat_to_last(a, tag).T)
    if own.startswith("Depthwise"):  # (H, W, in, multiplier) -> (in * multiplier, 1, H, W)
        front = np.moveaxis(array, (-2, -1), (0, 1))
        return Slot(
            id(variable),
            front.reshape(-1, 1, *array.shape[:axes]),
            lambda a: np.moveaxis(a.reshape(front.shape), (0, 1), (-2, -1)),
        )
    if "Transpose" in own:  # (H, W, out, in)
        return Slot.transposed(id(variable), array, (axes, axes + 1, *range(axes)))
    return Slot.transposed(id(variable), array, (axes + 1, axes, *range(axes)))
