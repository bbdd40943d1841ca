"""The tables of frameworks' operations: each says in its own words what all of them mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inception_parity.models.layers import frozen, plain
from inception_parity.models.layouts import FIRST, LAST
from inception_parity.models.mx_ops import OPERATIONS as MXNET
from inception_parity.models.onnx_ops import OPERATORS as ONNX
from inception_parity.models.operations import Call, Op, Operations, arg, axis
from inception_parity.models.pt_functions import FUNCTIONS as TORCH
from inception_parity.models.tf_layers import LAYERS as KERAS
from inception_parity.models.tf_ops import OPERATIONS as TENSORFLOW

TABLES = {"torch": TORCH, "keras": KERAS, "tf": TENSORFLOW, "mxnet": MXNET, "onnx": ONNX}
X = np.zeros((2, 6, 9, 8))  # (N, C, H, W)
LAST_X = np.zeros((2, 9, 8, 6))  # (N, H, W, C)
KERNEL = np.zeros((4, 3, 3, 3))  # two groups
NHWC_KERNEL = np.zeros((3, 3, 3, 4))
LAST_FORMAT = {"data_format": "channels_last"}
PAD = [[0, 0], [1, 2], [0, 3], [0, 0]]


def described(framework: str, name: str, *positional: Any, **named: Any) -> tuple[str, Any]:
    table = TABLES[framework]
    last = framework in ("keras", "tf")
    x = LAST_X if last else X
    given = table.named(name, (x, *positional)) | named
    weights = {
        role for role in ("weight", "bias") if given.get(role) is not None and given[role] is not x
    }
    call = Call(name, given, [x], x, LAST if last else None, weights)
    kind, settings = table.describe(call)
    return kind, frozen(plain(settings))


def across(kind: str, settings: dict[str, Any], **calls: Any) -> list[Any]:
    return [pytest.param(c, (kind, settings), id=f"{kind}-{k}") for k, c in calls.items()]


CONV = {"kernel": (3, 3), "stride": (2, 1), "pads": ((1, 1), (0, 0)), "dilation": (1, 2),
        "groups": 2}  # fmt: skip
POOL = {"kernel": (3, 2), "stride": (2, 2), "pads": ((0, 0), (0, 0)), "ceil": False}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        *across(
            "conv", CONV,
            torch=("torch", "conv2d", KERNEL, None, (2, 1), (1, 0), (1, 2), 2),
            mxnet=("mxnet", "convolution", KERNEL, {
                "kernel": (3, 3), "stride": (2, 1), "pad": (1, 0), "dilate": (1, 2), "num_group": 2,
            }),
            onnx=("onnx", "Conv", KERNEL, {
                "strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2], "group": 2,
            }),
            tf=("tf", "Conv2D", NHWC_KERNEL, {
                "strides": [1, 2, 1, 1], "dilations": [1, 1, 2, 1], "padding": "EXPLICIT",
                "explicit_paddings": [0, 0, 1, 1, 0, 0, 0, 0],
            }),
        ),
        *across(
            "conv", {**CONV, "pads": ((1, 1), (2, 2))},
            keras=("keras", "Conv2D", {
                "kernel_size": (3, 3), "strides": (2, 1), "padding": "same",
                "dilation_rate": (1, 2), "groups": 2, **LAST_FORMAT,
            }),
            onnx_same=("onnx", "Conv", KERNEL, {
                "strides": [2, 1], "auto_pad": "SAME_UPPER", "dilations": [1, 2], "group": 2,
            }),
        ),
        *across(
            "max_pool", {**POOL, "dilation": (1, 1)},
            torch=("torch", "max_pool2d", (3, 2), 2),
            keras=("keras", "MaxPooling2D", {
                "pool_size": (3, 2), "strides": (2, 2), "padding": "valid", **LAST_FORMAT,
            }),
            tf=("tf", "MaxPool", {
                "ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID",
            }),
            mxnet=("mxnet", "pooling", {"kernel": (3, 2), "stride": (2, 2)}),
            onnx=("onnx", "MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2]}),
        ),
        *across(
            "avg_pool", {**POOL, "count_include_pad": True},
            torch=("torch", "avg_pool2d", (3, 2), 2),
            mxnet=("mxnet", "pooling", {"kernel": (3, 2), "stride": 2, "pool_type": "avg"}),
        ),
        *across(
            "global_pool", {"reduce": "mean"},
            torch=("torch", "mean", (-1, -2)),
            adaptive=("torch", "adaptive_avg_pool2d", 1),
            keras=("keras", "GlobalAveragePooling2D"),
            tf=("tf", "Mean", np.array([1, 2])),
            mxnet=("mxnet", "mean", {"axis": (2, 3)}),
            onnx=("onnx", "ReduceMean", {"axes": [2, 3]}),
            onnx_input=("onnx", "ReduceMean", np.array([2, 3])),
        ),
        *across(
            "norm", {"eps": 1e-3, "momentum": 0.25},
            torch=("torch", "batch_norm", {"eps": 1e-3, "momentum": 0.25}),
            keras=("keras", "BatchNormalization", {"epsilon": 1e-3, "momentum": 0.75}),
            mxnet=("mxnet", "batchnorm", {"momentum": 0.75}),  # its default eps
            onnx=("onnx", "BatchNormalization", {"epsilon": 1e-3, "momentum": 0.75}),
        ),
        *across(
            "layer_norm", {"eps": 1e-6, "axes": (1,)},
            keras=("keras", "LayerNormalization", {"epsilon": 1e-6, "axis": -1}),
            mxnet=("mxnet", "layernorm", {"eps": 1e-6, "axis": 1}),
        ),
        *across(
            "layer_norm", {"eps": 1e-5, "axes": (2, 3)},
            torch=("torch", "layer_norm", (9, 8)),
            keras=("keras", "LayerNormalization", {"epsilon": 1e-5, "axis": [1, 2]}),
            onnx=("onnx", "LayerNormalization", {"axis": 2}),
        ),
        *across(
            "rms_norm", {"eps": 1e-6, "axes": (3,)},
            torch=("torch", "rms_norm", (8,), None, 1e-6),
            keras=("keras", "RMSNormalization", {"epsilon": 1e-6, "axis": 2}),
            onnx=("onnx", "RMSNormalization", {"epsilon": 1e-6}),
        ),
        *across(
            "group_norm", {"groups": 3, "eps": 1e-3},
            torch=("torch", "group_norm", 3, {"eps": 1e-3}),
            keras=("keras", "GroupNormalization", {"groups": 3, "epsilon": 1e-3}),
            mxnet=("mxnet", "groupnorm", {"num_groups": 3, "eps": 1e-3}),
            onnx=("onnx", "GroupNormalization", {"num_groups": 3, "epsilon": 1e-3}),
        ),
        *across(
            "instance_norm", {"eps": 1e-3},
            torch=("torch", "instance_norm", {"eps": 1e-3}),
            group=("torch", "group_norm", 6, {"eps": 1e-3}),
            keras=("keras", "GroupNormalization", {"groups": -1, "epsilon": 1e-3}),
            mxnet=("mxnet", "instancenorm"),  # its default
            onnx=("onnx", "InstanceNormalization", {"epsilon": 1e-3}),
        ),
        *across(
            "concat", {"axis": 1},
            torch=("torch", "cat", -3),
            keras=("keras", "Concatenate", {"axis": -1}),
            tf=("tf", "ConcatV2", {"axis": np.array(3)}),
            mxnet=("mxnet", "concat"),
            onnx=("onnx", "Concat", {"axis": 1}),
        ),
        *across(
            "mul", {"scalar": 2.5},
            torch=("torch", "mul", 2.5),
            tf=("tf", "Mul", np.array(2.5)),
            mxnet=("mxnet", "mul_scalar", {"scalar": 2.5}),
            onnx=("onnx", "Mul", {"a": None, "b": np.array([2.5])}),
        ),
        *across(
            "pad", {"pads": ((1, 2), (0, 3)), "mode": "constant", "fill": 1.5},
            torch=("torch", "pad", (0, 3, 1, 2), "constant", 1.5),
            tf=("tf", "PadV2", np.array(PAD), np.array(1.5)),
            mxnet=("mxnet", "pad", {"pad_width": (0, 0, 0, 0, 1, 2, 0, 3), "constant_value": 1.5}),
            onnx=("onnx", "Pad", np.array([0, 0, 1, 0, 0, 0, 2, 3]), np.array([1.5])),
        ),
        *across(
            "act", {"function": "leaky_relu", "slope": 0.2},
            torch=("torch", "leaky_relu", 0.2),
            keras=("keras", "LeakyReLU", {"negative_slope": 0.2}),
            tf=("tf", "LeakyRelu"),
            mxnet=("mxnet", "leakyrelu", {"slope": 0.2}),
            onnx=("onnx", "LeakyRelu", {"alpha": 0.2}),
        ),
        *across(
            "slice", {"axis": 2, "index": -1},
            torch=("torch", "select", 2, 8),
            index=("torch", "getitem", (slice(None), slice(None), -1)),
            ellipsis=("torch", "getitem", (..., -1, slice(None))),
            tf=("tf", "StridedSlice", np.array([0, -1]), np.array([0, 0]), np.array([1, 1]), {
                "begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 2,
            }),
            mxnet=("mxnet", "index", {"key": (slice(None), slice(None), 8)}),
            onnx=("onnx", "Gather", np.array(-1), {"axis": 2}),
        ),
        *across(
            "slice", {"ranges": {"2": (1, 5, 1)}},
            torch=("torch", "getitem", (slice(None), slice(None), slice(1, 5))),
            mxnet=("mxnet", "slice_axis", {"axis": 2, "begin": 1, "end": 5}),
        ),
        *across(
            "mean", {"axes": (1, 3), "keep": True},
            torch=("torch", "mean", (1, 3), {"keepdim": True}),
            tf=("tf", "Mean", np.array([2, 3]), {"keep_dims": True}),
            mxnet=("mxnet", "mean", {"axis": (1, 3), "keepdims": True}),
            onnx=("onnx", "ReduceMean", np.array([1, 3]), {"keepdims": 1}),
        ),
        *across(
            "depth_to_space", {"block": 2, "order": "DCR"},
            tf=("tf", "DepthToSpace", {"block_size": 2}),
            mxnet=("mxnet", "depth_to_space", {"block_size": 2}),
            onnx=("onnx", "DepthToSpace", {"blocksize": 2}),
        ),
        *across(
            "space_to_depth", {"block": 2, "order": "DCR"},
            tf=("tf", "SpaceToDepth", {"block_size": 2}),
            onnx=("onnx", "SpaceToDepth", {"blocksize": 2}),
        ),
        *across(
            "act", {"function": "softmax", "axis": 3},
            torch=("torch", "softmax", -1),
            keras=("keras", "Softmax", {"axis": 2}),
            mxnet=("mxnet", "softmax"),  # its default
            onnx=("onnx", "Softmax", {"axis": 3}),
        ),
        *across(
            "act", {"function": "hard_sigmoid", "slope": 0.2},
            mxnet=("mxnet", "hard_sigmoid"),  # their defaults
            onnx=("onnx", "HardSigmoid"),
        ),
        *across(
            "act", {"function": "relu6"},
            torch=("torch", "clamp", 0, 6),
            hardtanh=("torch", "hardtanh", 0.0, 6.0),
            keras=("keras", "ReLU", {"negative_slope": 0, "threshold": 0, "max_value": 6.0}),
            tf=("tf", "Relu6"),
            mxnet=("mxnet", "clip", {"a_min": 0, "a_max": 6}),
            onnx=("onnx", "Clip", np.array(0.0), np.array(6.0)),
            onnx_attributes=("onnx", "Clip", {"min": 0.0, "max": 6.0}),
        ),
    ],
)  # fmt: skip
def test_frameworks_say_the_same_in_their_own_words(call: Any, expected: Any) -> None:
    framework, name, *rest = call
    named = rest.pop() if rest and isinstance(rest[-1], dict) else {}
    assert described(framework, name, *rest, **named) == expected


@pytest.mark.parametrize("framework", TABLES)
def test_an_operation_without_a_row_keeps_its_name_unless_it_is_an_activation(
    framework: str,
) -> None:
    assert described(framework, "frobnicate") == ("frobnicate", {})
    assert described(framework, "HardSwish") == ("act", {"function": "hard_swish"})


def test_a_row_reads_arguments_defaults_axes_and_constants() -> None:
    table = Operations({
        "fold#d": Op("fold", "x size dim", size=arg("size", float), axis=axis("dim", -1),
                     rate=arg("rate", 0.5), mode=arg("mode"), way="up"),
    })  # fmt: skip

    def settings(*positional: Any, tag: Any = FIRST, **named: Any) -> Any:
        given = table.named("fold3d", (LAST_X, *positional)) | named
        return table.describe(Call("fold3d", given, [LAST_X], LAST_X, tag))[1]

    assert settings("2") == {"size": 2.0, "axis": 3, "rate": 0.5, "way": "up"}
    assert settings(2, tag=LAST)["axis"] == 1
    assert settings(2, 0, rate=1, mode="x") == {
        "size": 2.0, "axis": 0, "rate": 1.0, "mode": "x", "way": "up",
    }  # fmt: skip
