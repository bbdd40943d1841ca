"""What each layer of the oracle is in ONNX: a table, and functions for layers that need them.

A new layer needs a line in LAYERS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inception_np.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    Flatten,
    Linear,
    LocalResponseNorm,
    ReLU,
    Rescale,
    Resize,
    ScaledAdd,
    TransformInput,
)
from inception_np.module import Module
from inception_np.pools import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool

from ..errors import InputError


class Operators:
    """The operators that one layer becomes, in order; the last one makes the layer's tensor.

    Args:
        path: of the layer; its weights are named after it.
        tensor: the name of the layer's tensor; what else the layer needs is named after it.
        grid: (height, width) of the layer's first input; empty if it has none.
    """

    def __init__(self, path: str, tensor: str, grid: tuple[int, ...]) -> None:
        self.path = path
        self.tensor = tensor
        self.grid = grid
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator; return the name of what it makes."""
        from onnx import helper

        name = self._name(operator, sum(node.op_type == operator for node in self.nodes))
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def weight(self, name: str) -> str:
        """Return the shared name of one of the layer's arrays."""
        return f"{self.path}.{name}"

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of a tensor that is this array: a constant, not a weight."""
        from onnx import helper, numpy_helper

        name = self._name("Constant", len(self.constants))
        value = numpy_helper.from_array(np.ascontiguousarray(array, np.float32))
        self.constants.append(helper.make_node("Constant", [], [name], name, value=value))
        return name

    def _name(self, operator: str, before: int) -> str:
        return f"{self.tensor}/{operator}" + (f"{before + 1}" if before else "")


def write_layer(layer: Module, operators: Operators, inputs: list[str]) -> None:
    """Add a layer's operators.

    Raises:
        InputError: there is no such layer in ONNX, or not with these settings.
    """
    write = LAYERS.get(type(layer))
    if write is None:
        raise InputError(
            f"{operators.path}: {type(layer).__name__} can't be written as ONNX; "
            f"the layers that can be: {', '.join(known.__name__ for known in LAYERS)}"
        )
    write(layer, operators, *inputs)
    operators.nodes[-1].output[0] = operators.tensor


def _conv(layer: Conv2d, out: Operators, x: str) -> None:
    bias = [] if layer.bias is None else [out.weight("bias")]
    out.add(
        "Conv", x, out.weight("weight"), *bias,
        kernel_shape=layer.kernel_size, strides=layer.stride, pads=layer.padding * 2,
    )  # fmt: skip


def _batch_norm(layer: BatchNorm2d, out: Operators, x: str) -> None:
    ones = np.ones_like(layer.bias)
    weight = out.constant(ones) if layer.weight is None else out.weight("weight")
    rest = (out.weight(name) for name in ("bias", "running_mean", "running_var"))
    out.add("BatchNormalization", x, weight, *rest, epsilon=layer.eps)


def _response_norm(layer: LocalResponseNorm, out: Operators, x: str) -> None:
    if layer.size % 2 == 0:  # ONNX and the oracle put the odd channel on different sides
        raise InputError(
            f"{out.path}: local response norm over {layer.size} channels can't be written as "
            "ONNX; only over an odd number of them"
        )
    out.add("LRN", x, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)


def _max_pool(layer: MaxPool, out: Operators, x: str) -> None:
    """Write ceil mode as padding at the end: runtimes disagree about the mode."""
    after: tuple[int, ...] = layer.padding
    if layer.ceil_mode:
        # stride - 1 more of them round up; kernel of them would be a window after the input.
        sides = zip(layer.kernel_size, layer.stride, layer.padding, strict=True)
        after = tuple(min(before + step - 1, window - 1) for window, step, before in sides)
    out.add(
        "MaxPool", x,
        kernel_shape=layer.kernel_size, strides=layer.stride, pads=(*layer.padding, *after),
    )  # fmt: skip


def _avg_pool(layer: AvgPool, out: Operators, x: str) -> None:
    counted = layer.count_include_pad and any(layer.padding)
    out.add(
        "AveragePool", x, kernel_shape=layer.kernel_size, strides=layer.stride,
        pads=layer.padding * 2, count_include_pad=int(counted),
    )  # fmt: skip


def _adaptive_avg_pool(layer: AdaptiveAvgPool, out: Operators, x: str) -> None:
    """Write means over a grid of windows, for which ONNX has no operator.

    Where the windows are all alike it is an average pool; where they aren't, sums by
    products with zeros and ones, and a division: whole numbers, exact in every dtype.
    """
    (height, width), (n, m) = out.grid, layer.output_size
    if (n, m) == (1, 1):
        out.add("GlobalAveragePool", x)
    elif height % n == 0 and width % m == 0:
        window = (height // n, width // m)
        out.add(
            "AveragePool", x, kernel_shape=window, strides=window, pads=(0, 0, 0, 0),
            count_include_pad=0,
        )  # fmt: skip
    else:
        rows, columns = _windows(height, n), _windows(width, m)
        x = out.add("MatMul", x, out.constant(columns.T))
        x = out.add("MatMul", out.constant(rows), x)
        out.add("Div", x, out.constant(np.outer(rows.sum(axis=1), columns.sum(axis=1))))


def _windows(size: int, windows: int) -> NDArray[np.float32]:
    """Return zeros and ones: row i has ones where window i is."""
    rows = np.zeros((windows, size), np.float32)
    for i in range(windows):
        rows[i, i * size // windows : -(-(i + 1) * size // windows)] = 1
    return rows


def _transform_input(layer: TransformInput, out: Operators, x: str) -> None:
    x = out.add("Mul", x, out.constant(np.reshape(layer.scale, (3, 1, 1))))
    out.add("Add", x, out.constant(np.reshape(layer.shift, (3, 1, 1))))


def _resize(layer: Resize, out: Operators, x: str) -> None:
    """Write products with whole numbers, and a division: exact in every dtype.

    Runtimes round the positions of ONNX's own operator differently.
    """
    (height, width), (n, m) = out.grid, layer.size
    unit = 2 if layer.half_pixel_centres else 1
    rows = np.rint(layer.weights_of(n, height) * n * unit)
    columns = np.rint(layer.weights_of(m, width) * m * unit)
    x = out.add("MatMul", x, out.constant(columns.T))
    x = out.add("Div", x, out.constant(np.array(m * unit)))
    x = out.add("MatMul", out.constant(rows), x)
    out.add("Div", x, out.constant(np.array(n * unit)))


def _rescale(layer: Rescale, out: Operators, x: str) -> None:
    x = out.add("Mul", x, out.constant(np.array(layer.scale)))
    out.add("Add", x, out.constant(np.array(layer.shift)))


def _scaled_add(layer: ScaledAdd, out: Operators, shortcut: str, residual: str) -> None:
    if layer.scale != 1:
        residual = out.add("Mul", residual, out.constant(np.array(layer.scale)))
    out.add("Add", shortcut, residual)


LAYERS: dict[type[Module], Callable[..., Any]] = {
    Conv2d: _conv,
    BatchNorm2d: _batch_norm,
    ReLU: lambda layer, out, x: out.add("Relu", x),
    LocalResponseNorm: _response_norm,
    MaxPool: _max_pool,
    AvgPool: _avg_pool,
    GlobalAvgPool: lambda layer, out, x: out.add("GlobalAveragePool", x),
    AdaptiveAvgPool: _adaptive_avg_pool,
    TransformInput: _transform_input,
    Resize: _resize,
    Rescale: _rescale,
    ScaledAdd: _scaled_add,
    Concat: lambda layer, out, *xs: out.add("Concat", *xs, axis=1),
    Flatten: lambda layer, out, x: out.add("Flatten", x, axis=1),
    Linear: lambda layer, out, x: out.add(
        "Gemm", x, out.weight("weight"), out.weight("bias"), transB=1
    ),
}
