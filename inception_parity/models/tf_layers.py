"""Keras' layers as shared kinds, settings and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..diagnosis.forward import same_pads
from .kinds import Described, activation_called, adaptive_pool, clip, window_pool, zero_pad
from .layers import Settings, no_pads, per_axis
from .layouts import Tag, flat_to_first, flat_to_last, shared_axis
from .recorder import Slot

Array = NDArray[Any]

# Layers of Keras' own that are looked into: they hold others, or do two things at once.
_OPENED = ("Functional", "Sequential", "Model", "SeparableConv1D", "SeparableConv2D",
           "TimeDistributed", "Wrapper", "SpectralNormalization")  # fmt: skip

_MERGES = {"Add": "add", "Subtract": "sub", "Multiply": "mul", "Concatenate": "concat",
           "Maximum": "maximum", "Minimum": "minimum", "Average": "average"}  # fmt: skip


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


_FUSING = ("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D",
           "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")  # fmt: skip


def data_format(layer: Any) -> str | None:
    """Return a layer's `data_format`, if it has one that says how its output is laid out."""
    found = getattr(layer, "data_format", None)
    return None if type(layer).__name__ == "Flatten" else found


def activation(function: Any) -> Settings:
    """Return the settings of an activation function."""
    name = getattr(function, "__name__", type(function).__name__)
    return {"function": activation_called(name) or name}


def settings_of(layer: Any, fed: Sequence[Any], tag: Tag) -> Described:
    """Return a layer's kind and settings.

    Args:
        layer: the layer.
        fed: what it was given.
        tag: the layout of the first of them.
    """
    own = type(layer).__name__
    if own in _MERGES:
        if own != "Concatenate":
            return _MERGES[own], {}
        return "concat", {"axis": shared_axis(layer.axis, len(fed[0].shape), tag)}
    if own.startswith(("Conv", "DepthwiseConv")) and hasattr(layer, "kernel_size"):
        return _convolution(layer, own, fed[0])
    if "Pooling" in own:
        return _pool(layer, own, fed[0])
    if own in ("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "PReLU"):
        return _activation(layer, own)
    if own in _SIMPLE:
        kind, names = _SIMPLE[own]
        return kind, {ours: getattr(layer, theirs) for theirs, ours in names.items()}
    if own.startswith("ZeroPadding"):
        pads = layer.padding if isinstance(layer.padding[0], tuple) else (layer.padding,)
        return zero_pad(pads)
    if own == "Permute":
        return "permute", {"order": (0, *layer.dims)}
    if own == "Rescaling":
        return "affine", {"scale": layer.scale, "shift": layer.offset}
    if own in ("Flatten", "Reshape", "Dropout", "Identity", "InputLayer") or "Dropout" in own:
        kind = {"Flatten": "flatten", "Reshape": "reshape"}.get(own, "identity")
        return ("dropout" if "Dropout" in own else kind), {}
    return own, {}


_SIMPLE: dict[str, tuple[str, dict[str, str]]] = {
    "Dense": ("dense", {}),
    "BatchNormalization": ("norm", {"epsilon": "eps"}),
    "LayerNormalization": ("layer_norm", {"epsilon": "eps"}),
    "GroupNormalization": ("group_norm", {"epsilon": "eps", "groups": "num_groups"}),
    "UpSampling2D": ("interpolate", {"size": "scale_factor", "interpolation": "mode"}),
}


def _spatial(layer: Any, x: Any) -> tuple[int, ...]:
    sizes = tuple(int(side) for side in x.shape)
    return sizes[1:-1] if layer.data_format == "channels_last" else sizes[2:]


def _pads(layer: Any, x: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    if layer.padding == "same":
        return same_pads(_spatial(layer, x), kernel, stride, dilation)
    if layer.padding == "causal":
        return ((dilation[0] * (kernel[0] - 1), 0),)
    return no_pads(len(kernel))


def _convolution(layer: Any, own: str, x: Any) -> Described:
    axes = len(layer.kernel_size)
    kernel, stride = per_axis(layer.kernel_size, axes), per_axis(layer.strides, axes)
    dilation = per_axis(layer.dilation_rate, axes)
    settings: Settings = {"kernel": kernel, "stride": stride, "dilation": dilation}
    if "Transpose" in own:
        return "conv_transpose", {**settings, "padding": layer.padding}
    channels = int(x.shape[-1 if layer.data_format == "channels_last" else 1])
    groups = channels if own.startswith("Depthwise") else layer.groups
    pads = _pads(layer, x, kernel, stride, dilation)
    return "conv", {**settings, "pads": pads, "groups": groups}


def _pool(layer: Any, own: str, x: Any) -> Described:
    reduce = "mean" if "Average" in own else "max"
    if own.startswith("Global"):
        return "global_pool", {"reduce": reduce}
    if own.startswith("Adaptive"):
        return adaptive_pool(per_axis(layer.output_size, len(x.shape) - 2), reduce)
    axes = len(layer.pool_size)
    kernel, stride = per_axis(layer.pool_size, axes), per_axis(layer.strides, axes)
    pads = _pads(layer, x, kernel, stride, (1,) * axes)
    return window_pool(reduce, {"kernel": kernel, "stride": stride, "pads": pads})


def _activation(layer: Any, own: str) -> Described:
    if own == "Activation":
        return "act", activation(layer.activation)
    if own == "PReLU":
        return "prelu", {}
    if own == "ReLU":
        slope, threshold = float(layer.negative_slope), float(layer.threshold)
        if slope or threshold:
            limits = {"slope": slope, "threshold": threshold, "high": layer.max_value}
            return "act", {"function": "leaky_relu", **limits}
        return clip(0.0, layer.max_value)
    if own == "Softmax":
        return "act", {"function": "softmax"}
    slope = layer.alpha if own == "ELU" else layer.negative_slope
    return "act", {"function": "elu" if own == "ELU" else "leaky_relu", "slope": float(slope)}


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
    return found


_ROLES = {"bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
          "moving_variance": "running_var", "embeddings": "weight", "alpha": "weight"}  # fmt: skip


def kernel_slot(variable: Any, own: str, kind: str, tag: Tag) -> Slot:
    """Return a kernel in the shared layout: OIHW, (out, in), with the way back."""
    array: Array = variable.numpy()
    axes = array.ndim - 2
    if kind == "dense":
        if isinstance(tag, tuple) and int(np.prod(tag)) == len(array):  # flattened as (…, C)
            shared = flat_to_first(array.T, tag)
            return Slot(id(variable), shared, lambda a: flat_to_last(a, tag).T)
        return Slot(id(variable), array.T, lambda a: a.T)
    if own.startswith("Depthwise"):  # (H, W, in, multiplier) -> (in * multiplier, 1, H, W)
        front = np.moveaxis(array, (-2, -1), (0, 1))
        shape = front.shape
        return Slot(
            id(variable),
            front.reshape(-1, 1, *array.shape[:axes]),
            lambda a: np.moveaxis(a.reshape(shape), (0, 1), (-2, -1)),
        )
    if "Transpose" in own:  # (H, W, out, in)
        return Slot(id(variable), np.moveaxis(array, (-2, -1), (0, 1)),
                    lambda a: np.moveaxis(a, (0, 1), (-2, -1)))  # fmt: skip
    return Slot(id(variable), np.moveaxis(array, (-1, -2), (0, 1)),
                lambda a: np.moveaxis(a, (0, 1), (-1, -2)))  # fmt: skip
