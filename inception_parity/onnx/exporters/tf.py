"""TensorFlow: the graph of a function, operation by operation, from NHWC to NCHW.

tf2onnx, which Keras' own export uses, folds batch norms into convolutions and loses the
names. Here no tensor is transposed: each knows which of its axes is which of the ONNX
tensor's, so that a transposition is a change of what is known.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras.layers import BatchNormalization
from numpy.typing import NDArray

from inception_tf.layers import LocalResponseNorm
from inception_tf.pools import AdaptiveAvgPool
from inception_tf.weights import _arrays

from ...backends import Adapter
from . import unknown
from .graph import Graph, Pads, same_pads

NHWC = (0, 2, 3, 1)  # TensorFlow's axis -> the axis of the ONNX tensor
PLAIN = (0, 1, 2, 3)
WEIGHTED = ("Conv2D", "MatMul", "BiasAdd")  # whose second input is a weight


def trace(backend: Adapter, net: Any, outputs: tuple[str, ...], size: tuple[int, int]) -> Graph:
    """Return the graph of a Keras network."""
    channels = int(net.options["in_channels"])
    made: dict[str, Any] = {}  # layer -> its tensor
    whole: dict[str, tuple[str, Any, Any]] = {}  # tensor -> path, layer, input of the layer
    with ExitStack() as stack:
        for path, layer, _ in backend.modules(net):
            stack.callback(
                backend.attach(layer, lambda args: args, _watch(path, layer, made, whole))
            )
        function = tf.function(lambda x: net(x, training=False), autograph=False)
        image = tf.TensorSpec((None, *size, channels), tf.float32)
        concrete = function.get_concrete_function(image)
    graph = Graph(backend.get_weights(net), channels, size)
    names = {id(variable.value.handle): name for name, variable in _arrays(net).items()}
    function_graph = _Function(graph, concrete, names, whole)
    function_graph.run()
    values = function_graph.values
    graph.endpoints = {path: values[tensor.name].tensor for path, tensor in made.items()}
    for name, tensor in zip(outputs, function_graph.returned, strict=False):
        graph.outputs[name] = values[tensor.name].tensor
    return graph


def _watch(
    path: str, layer: Any, made: dict[str, Any], whole: dict[str, tuple[str, Any, Any]]
) -> Callable[..., None]:
    def after(args: tuple[Any, ...], output: Any) -> None:
        if path:
            made[path] = output
        if isinstance(layer, (BatchNormalization, LocalResponseNorm, AdaptiveAvgPool)):
            whole[output.name] = (path, layer, args[0])  # which ONNX writes as one operator

    return after


@dataclass(frozen=True)
class _Value:
    """A tensor of the graph, and which of its axes each of TensorFlow's is."""

    tensor: str
    axes: tuple[int, ...]


class _Function:
    """One function's graph, on its way into ONNX."""

    def __init__(
        self, graph: Graph, concrete: Any, names: dict[int, str],
        whole: dict[str, tuple[str, Any, Any]],
    ) -> None:  # fmt: skip
        self.graph = graph
        self.whole = whole
        self.operations = list(concrete.graph.get_operations())
        self.returned = list(concrete.graph.outputs)
        self.values: dict[str, _Value] = {concrete.inputs[0].name: _Value(graph.input, NHWC)}
        self.weights = {
            inner.name: names[id(outer)]
            for outer, inner in concrete.graph.captures
            if id(outer) in names
        }

    def run(self) -> None:
        needed = self._needed()
        for operation in self.operations:
            if not operation.outputs or operation.name not in needed:
                continue
            output = operation.outputs[0]
            if output.name in self.whole:
                self.values[output.name] = self._layer(*self.whole[output.name])
            elif operation.type not in ("Placeholder", "Const"):
                convert = OPERATIONS.get(operation.type)
                if convert is None:
                    raise unknown(f"TensorFlow's {operation.type}", operation.name)
                self.values[output.name] = convert(self, operation)

    def _needed(self) -> set[str]:
        """Return the operations that the outputs need, where some layers are one operation."""
        needed = {tensor.op.name for tensor in self.returned}
        for operation in reversed(self.operations):
            if operation.name not in needed:
                continue
            whole = self.whole.get(operation.outputs[0].name)
            sources = operation.inputs if whole is None else [whole[2]]
            if operation.type in WEIGHTED:
                sources = [operation.inputs[0]]
            needed.update(tensor.op.name for tensor in sources)
        return needed

    def _layer(self, path: str, layer: Any, source: Any) -> _Value:
        x = self.nhwc(source)
        if isinstance(layer, BatchNormalization):
            weight = f"{path}.weight" if layer.scale else None
            bias, mean, variance = (f"{path}.{n}" for n in ("bias", "running_mean", "running_var"))
            made = self.graph.batch_norm(x, weight, bias, mean, variance, layer.epsilon)
        elif isinstance(layer, LocalResponseNorm):
            if layer.size % 2 == 0:
                raise unknown(f"local response norm over {layer.size} channels", path)
            made = self.graph.response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
        else:
            _, height, width, _ = source.shape
            made = self.graph.adaptive_avg_pool(x, (height, width), layer.output_size)
        return _Value(made, NHWC)

    def nhwc(self, tensor: Any) -> str:
        """Return an activation's tensor, which has to be (N, C, H, W) there."""
        value = self.values[tensor.name]
        if value.axes != NHWC:
            raise unknown("an activation with other axes", tensor.name)
        return value.tensor

    def weight(self, tensor: Any) -> str:
        """Return the weight that a tensor is; Keras gives a bias four axes, and takes them away."""
        operation = tensor.op
        while operation.type in ("Reshape", "Squeeze"):
            operation = operation.inputs[0].op
        if operation.type != "ReadVariableOp" or operation.inputs[0].name not in self.weights:
            raise unknown("an operand that is no weight of the network", tensor.name)
        return self.weights[operation.inputs[0].name]

    def constant(self, tensor: Any) -> NDArray[Any] | None:
        """Return what a tensor always is, if it always is the same."""
        found = tf.get_static_value(tensor)
        return None if found is None else np.asarray(found)


def _window(n: Any, attribute: str) -> tuple[int, int]:
    """Return (height, width) of an attribute of four numbers, the others being 1."""
    outer, height, width, inner = n.get_attr(attribute)
    if (outer, inner) != (1, 1):
        raise unknown("a window over images or channels", n.name)
    return height, width


def _pad(f: _Function, n: Any) -> _Value:
    paddings = f.constant(n.inputs[1])
    value = 0.0 if len(n.inputs) == 2 else float(f.constant(n.inputs[2]))  # type: ignore[arg-type]
    if paddings is None or paddings[[0, 3]].any():
        raise unknown("padding of images or channels", n.name)
    (top, bottom), (left, right) = paddings[1:3].tolist()
    return _Value(f.graph.pad(f.nhwc(n.inputs[0]), (top, left, bottom, right), value), NHWC)


def _bias(f: _Function, n: Any) -> str | None:
    """Return the bias that the next operation adds, which ONNX's operator adds itself."""
    followers = n.outputs[0].consumers()
    biased = len(followers) == 1 and followers[0].type == "BiasAdd"
    return f.weight(followers[0].inputs[1]) if biased else None


def _conv(f: _Function, n: Any) -> _Value:
    if n.get_attr("padding") != b"VALID" or n.get_attr("data_format") != b"NHWC":
        raise unknown("a convolution that pads, or with channels first", n.name)
    if _window(n, "dilations") != (1, 1):
        raise unknown("a dilated convolution", n.name)
    x, kernel = f.nhwc(n.inputs[0]), f.weight(n.inputs[1])
    return _Value(f.graph.conv(x, kernel, _bias(f, n), _window(n, "strides")), NHWC)


def _bias_add(f: _Function, n: Any) -> _Value:
    """Return what a convolution or product has made, its bias included."""
    if n.inputs[0].op.type not in ("Conv2D", "MatMul") or len(n.inputs[0].consumers()) != 1:
        raise unknown("a bias of its own", n.name)
    return f.values[n.inputs[0].name]


def _matmul(f: _Function, n: Any) -> _Value:
    if n.get_attr("transpose_a") or n.get_attr("transpose_b"):
        raise unknown("a transposed product", n.name)
    x, kernel = f.values[n.inputs[0].name].tensor, f.weight(n.inputs[1])
    return _Value(f.graph.linear(x, kernel, _bias(f, n)), (0, 1))


def _pool(f: _Function, n: Any) -> tuple[str, tuple[int, int], tuple[int, int], Pads]:
    kernel = _window(n, "ksize")
    stride = _window(n, "strides")
    same = n.get_attr("padding") == b"SAME"
    size = n.inputs[0].shape[1:3]
    pads = same_pads(size, kernel, stride) if same else (0, 0, 0, 0)
    return f.nhwc(n.inputs[0]), kernel, stride, pads


def _reshape(f: _Function, n: Any) -> _Value:
    value = f.values[n.inputs[0].name]
    if value.axes != PLAIN or len(n.outputs[0].shape) != 2:
        raise unknown("a reshape that doesn't flatten (C, H, W)", n.name)
    return _Value(f.graph.add("Flatten", value.tensor, axis=1), (0, 1))


def _relu(f: _Function, n: Any) -> _Value:
    value = f.values[n.inputs[0].name]
    return _Value(f.graph.add("Relu", value.tensor), value.axes)


def _transpose(f: _Function, n: Any) -> _Value:
    value, order = f.values[n.inputs[0].name], f.constant(n.inputs[1])
    assert order is not None
    return _Value(value.tensor, tuple(value.axes[axis] for axis in order.tolist()))


def _concat(f: _Function, n: Any) -> _Value:
    axis = int(f.constant(n.inputs[-1]))  # type: ignore[arg-type]
    sources = [f.nhwc(tensor) for tensor in n.inputs[:-1]]
    return _Value(f.graph.add("Concat", *sources, axis=NHWC[axis]), NHWC)


def _mean(f: _Function, n: Any) -> _Value:
    axes = f.constant(n.inputs[1])
    if axes is None or sorted(axes.tolist()) != [1, 2] or not n.get_attr("keep_dims"):
        raise unknown("a mean over other axes than height and width", n.name)
    return _Value(f.graph.add("GlobalAveragePool", f.nhwc(n.inputs[0])), NHWC)


def _with_constant(op: str) -> Callable[[_Function, Any], _Value]:
    def convert(f: _Function, n: Any) -> _Value:
        array = f.constant(n.inputs[1])
        if array is None:
            raise unknown(f"{op} of two activations", n.name)
        height_width_channels = array.reshape((1,) * (3 - array.ndim) + array.shape)
        other = f.graph.constant(np.ascontiguousarray(height_width_channels.transpose(2, 0, 1)))
        return _Value(f.graph.add(op, f.nhwc(n.inputs[0]), other), NHWC)

    return convert


OPERATIONS: dict[str, Callable[[_Function, Any], _Value]] = {
    "Pad": _pad,
    "PadV2": _pad,
    "Conv2D": _conv,
    "BiasAdd": _bias_add,
    "MatMul": _matmul,
    "Relu": _relu,
    "MaxPool": lambda f, n: _Value(f.graph.max_pool(*_pool(f, n)), NHWC),
    "AvgPool": lambda f, n: _Value(f.graph.avg_pool(*_pool(f, n)), NHWC),
    "Mean": _mean,
    "ConcatV2": _concat,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Mul": _with_constant("Mul"),
    "AddV2": _with_constant("Add"),
    "Identity": lambda f, n: f.values[n.inputs[0].name],
}
