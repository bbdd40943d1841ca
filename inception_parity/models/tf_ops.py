"""TensorFlow's own operations as shared kinds and settings, outside of any Keras layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..diagnosis.forward import same_pads
from .kinds import Described, activation_called, reduced, window_pool, zero_pad
from .layers import Settings, no_pads
from .layouts import LAST, Tag, shared_axis
from .recorder import Slot
from .tf_layers import kernel_slot

_PLAIN = {"AddV2": "add", "Add": "add", "AddN": "add", "Sub": "sub", "Mul": "mul",
          "RealDiv": "div", "Maximum": "maximum", "Minimum": "minimum", "Identity": "identity",
          "Cast": "cast", "StridedSlice": "slice", "Slice": "slice", "Squeeze": "reshape",
          "ExpandDims": "reshape"}  # fmt: skip


def settings_of(
    own: str,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
    output: Any,
    variables: Mapping[int, Any],
    fed: Sequence[Any],
    tag: Tag,
) -> tuple[str, Settings, dict[str, Slot]]:
    """Return an operation's kind, settings and weights.

    Args:
        own: TensorFlow's name of it.
        inputs: all that it was given.
        attributes: TensorFlow's.
        output: what it gave.
        variables: position among the inputs -> the Keras variable that was read for it.
        fed: the inputs that are activations.
        tag: the layout of the first of them.
    """
    axes = len(output.shape)
    activation = activation_called(own)
    if activation is not None:
        return "act", {"function": activation, **_slope(own, attributes)}, {}
    if own in _PLAIN:
        scalar = [t for t in inputs if not len(t.shape)]
        return _PLAIN[own], {"scalar": float(scalar[0])} if scalar and len(inputs) == 2 else {}, {}
    if own in ("Conv2D", "DepthwiseConv2dNative"):
        return _convolution(own, inputs, attributes, variables)
    if own == "BiasAdd":
        variable = variables.get(1)
        held = {} if variable is None else {"bias": Slot(id(variable), variable.numpy())}
        return "bias", {}, held
    if own == "MatMul" and 1 in variables:
        return "dense", {}, {"weight": kernel_slot(variables[1], own, "dense", tag)}
    if own in ("MaxPool", "AvgPool"):
        return *_pool(own, inputs[0], attributes), {}
    if own == "ConcatV2":
        return "concat", {"axis": shared_axis(int(inputs[-1]), axes, tag)}, {}
    if own in ("Mean", "Max"):
        return *_reduced(own, inputs, tag), {}
    if own == "Reshape":
        return ("flatten" if axes == 2 else "reshape"), {}, {}
    if own == "Transpose":
        return "permute", {"order": [int(i) for i in inputs[1].numpy()]}, {}
    if own in ("Pad", "PadV2"):
        return *_pad(inputs, tag), {}
    if own == "LRN":
        size = 2 * int(attributes["depth_radius"]) + 1
        return "lrn", {"size": size, "alpha": attributes["alpha"] * size,
                       "beta": attributes["beta"], "k": attributes["bias"]}, {}  # fmt: skip
    return own, {}, {}


def _slope(own: str, attributes: Mapping[str, Any]) -> Settings:
    if own == "LeakyRelu":
        return {"slope": attributes.get("alpha", 0.2)}
    return {"slope": 1.0} if own == "Elu" else {}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _window(x: Any, attributes: Mapping[str, Any]) -> tuple[slice, tuple[int, ...]]:
    """Return where the spatial axes are, and their lengths."""
    last = _text(attributes.get("data_format", "NHWC")) == "NHWC"
    where = slice(1, 3) if last else slice(2, 4)
    return where, tuple(int(side) for side in x.shape)[where]


def _padding(attributes: Mapping[str, Any], where: slice, sizes: Any, kernel: Any, stride: Any,
             dilation: Any) -> Any:  # fmt: skip
    padding = _text(attributes["padding"])
    if padding == "EXPLICIT":
        flat = [int(side) for side in attributes["explicit_paddings"]]
        return [tuple(flat[2 * axis : 2 * axis + 2]) for axis in range(where.start, where.stop)]
    return same_pads(sizes, kernel, stride, dilation) if padding == "SAME" else no_pads(2)


def _convolution(
    own: str, inputs: Sequence[Any], attributes: Mapping[str, Any], variables: Mapping[int, Any]
) -> tuple[str, Settings, dict[str, Slot]]:
    x, weight = inputs[:2]
    where, sizes = _window(x, attributes)
    kernel = tuple(int(side) for side in weight.shape[:2])
    stride = tuple(attributes["strides"][where])
    dilation = tuple(attributes.get("dilations", (1, 1, 1, 1))[where])
    channels = int(x.shape[-1] if where.start == 1 else x.shape[1])
    depthwise = own.startswith("Depthwise")
    settings: Settings = {
        "kernel": kernel, "stride": stride, "dilation": dilation,
        "pads": _padding(attributes, where, sizes, kernel, stride, dilation),
        "groups": channels if depthwise else channels // int(weight.shape[2]),
    }  # fmt: skip
    slots = {}
    if 1 in variables:
        slots["weight"] = kernel_slot(variables[1], own, "conv", None)
    return "conv", settings, slots


def _pool(own: str, x: Any, attributes: Mapping[str, Any]) -> Described:
    where, sizes = _window(x, attributes)
    kernel, stride = tuple(attributes["ksize"][where]), tuple(attributes["strides"][where])
    pads = _padding(attributes, where, sizes, kernel, stride, (1, 1))
    window: Settings = {"kernel": kernel, "stride": stride, "pads": pads}
    return window_pool("max" if own == "MaxPool" else "mean", window)


def _reduced(own: str, inputs: Sequence[Any], tag: Tag) -> Described:
    axes = len(inputs[0].shape)
    over = (shared_axis(int(axis), axes, tag) for axis in inputs[1].numpy().reshape(-1))
    return reduced("mean" if own == "Mean" else "max", over, axes)


def _pad(inputs: Sequence[Any], tag: Tag) -> Described:
    pads = [tuple(int(side) for side in pair) for pair in inputs[1].numpy()]
    spatial = pads[1:-1] if tag == LAST else pads[2:]
    fill = float(inputs[2]) if len(inputs) > 2 else 0.0
    return zero_pad(spatial, fill=fill)
