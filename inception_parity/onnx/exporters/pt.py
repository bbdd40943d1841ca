"""PyTorch: the operators that `torch.export` captures, each written as its ONNX counterpart.

torch's own exporter (with onnxscript) keeps names and batch norms too, when asked not to
optimise, but writes two and a half times as many operators (a convolution without bias gets
one expanded from a zero, at run time), and takes many times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.export.graph_signature import InputKind

from ...backends import Adapter
from . import unknown
from .graph import Graph, Pads

BATCH = 2  # of the capture; no operator below depends on it


def trace(backend: Adapter, net: Any, outputs: tuple[str, ...], size: tuple[int, int]) -> Graph:
    """Return the graph of a PyTorch network."""
    channels = int(net.options["in_channels"])
    example = torch.zeros(BATCH, channels, *size)
    with torch.no_grad():
        program = torch.export.export(net, (example,), strict=False)
    graph = Graph(backend.get_weights(net), channels, size)
    capture = _Capture(graph, net)
    capture.run(program)
    returned = [spec.arg.name for spec in program.graph_signature.output_specs]
    for name, node in zip(outputs, returned, strict=False):
        graph.outputs[name] = capture.values[node]
    return graph


class _Capture:
    """One captured program, on its way into a graph."""

    def __init__(self, graph: Graph, net: Any) -> None:
        self.graph = graph
        self.modules = dict(net.named_modules())
        self.values: dict[str, str] = {}  # node -> tensor
        self.known: dict[str, torch.Tensor] = {}  # node -> what it always is
        self.last: dict[str, tuple[int, str]] = {}  # module -> its last node, when and which

    def run(self, program: Any) -> None:
        for spec in program.graph_signature.input_specs:
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
                self.values[spec.arg.name] = spec.target
            elif spec.kind == InputKind.CONSTANT_TENSOR:
                self.known[spec.arg.name] = program.constants[spec.target]
            else:
                self.values[spec.arg.name] = self.graph.input
        for when, node in enumerate(program.graph.nodes):
            if node.op != "call_function":
                continue
            stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            self._convert(node, stack[-1] if stack else "")
            if node.name in self.values:
                for path in filter(None, stack):
                    self.last[path] = (when, node.name)
        # A block ends with its last layer, and after it.
        ordered = sorted(self.last, key=lambda path: (self.last[path][0], -path.count(".")))
        self.graph.endpoints = {path: self.values[self.last[path][1]] for path in ordered}

    def _convert(self, node: Any, path: str) -> None:
        module = self.modules.get(path)
        if isinstance(module, torch.nn.LocalResponseNorm):
            self._response_norm(node, path, module)
            return
        if all(source.name in self.known for source in node.all_input_nodes):
            values = torch.fx.node.map_arg(
                (node.args, node.kwargs), lambda source: self.known[source.name]
            )
            self.known[node.name] = node.target(*values[0], **values[1])
            return
        convert = OPERATORS.get(str(node.target).removeprefix("aten.").rpartition(".")[0])
        if convert is None:
            raise unknown(str(node.target), path)
        stated = {a.name: a.default_value for a in node.target._schema.arguments}
        given = dict(zip(stated, node.args, strict=False)) | dict(node.kwargs)
        self.values[node.name] = convert(self, node, stated | given)

    def tensor(self, node: Any) -> str:
        """Return the tensor that a node made; a constant becomes one now."""
        if node.name in self.known:
            return self.graph.constant(self.known[node.name].detach().numpy())
        return self.values[node.name]

    def _response_norm(self, node: Any, path: str, module: Any) -> None:
        """Write the operators of one layer as one: its first one's input, its own numbers."""
        if module.size % 2 == 0:
            raise unknown(f"local response norm over {module.size} channels", path)
        start = self.last.get(path)
        x = self.values[node.all_input_nodes[0].name] if start is None else self.values[start[1]]
        if start is None:
            x = self.graph.response_norm(x, module.size, module.alpha, module.beta, module.k)
        self.values[node.name] = x


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _pair(value: Any) -> tuple[int, int]:
    return (value[0], value[-1]) if isinstance(value, (list, tuple)) else (value, value)


def _conv(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    if _pair(a["dilation"]) != (1, 1) or a["groups"] != 1:
        raise unknown("a dilated or grouped convolution", str(node))
    (top, left), bias = _pair(a["padding"]), a["bias"]
    return c.graph.conv(
        c.tensor(a["input"]), c.tensor(a["weight"]), None if bias is None else c.tensor(bias),
        _pair(a["stride"]), (top, left, top, left),
    )  # fmt: skip


def _batch_norm(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    if a["training"]:
        raise unknown("a batch norm in training", str(node))
    return c.graph.batch_norm(
        c.tensor(a["input"]), None if a["weight"] is None else c.tensor(a["weight"]),
        c.tensor(a["bias"]), c.tensor(a["running_mean"]), c.tensor(a["running_var"]), a["eps"],
    )  # fmt: skip


def _max_pool(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    kernel, stride = _pair(a["kernel_size"]), _pair(a["stride"] or a["kernel_size"])
    if _pair(a["dilation"]) != (1, 1):
        raise unknown("a dilated pool", str(node))
    top, left = _pair(a["padding"])
    pads: Pads = (top, left, top, left)
    if a["ceil_mode"]:  # as rows that are there: runtimes don't agree on the mode
        # stride - 1 more of them round up; kernel of them would be a window after the input.
        bottom, right = (
            min(p + s - 1, k - 1) for p, s, k in zip((top, left), stride, kernel, strict=True)
        )
        pads = (top, left, bottom, right)
    return c.graph.max_pool(c.tensor(a["self"]), kernel, stride, pads)


def _avg_pool(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    if a["ceil_mode"] or a["divisor_override"]:
        raise unknown("an average pool in ceil mode, or with a divisor", str(node))
    kernel, (top, left) = _pair(a["kernel_size"]), _pair(a["padding"])
    return c.graph.avg_pool(
        c.tensor(a["self"]), kernel, _pair(a["stride"] or kernel), (top, left, top, left),
        a["count_include_pad"],
    )  # fmt: skip


def _adaptive(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    height, width = _shape(a["self"])[2:]
    return c.graph.adaptive_avg_pool(c.tensor(a["self"]), (height, width), _pair(a["output_size"]))


def _cat(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    return c.graph.add("Concat", *map(c.tensor, a["tensors"]), axis=a["dim"])


def _flatten(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    if (a["start_dim"], a["end_dim"]) not in ((1, -1), (1, 3)):
        raise unknown("a flatten that keeps an axis", str(node))
    return c.graph.add("Flatten", c.tensor(a["self"]), axis=1)


def _linear(c: _Capture, node: Any, a: dict[str, Any]) -> str:
    bias = None if a["bias"] is None else c.tensor(a["bias"])
    return c.graph.linear(c.tensor(a["input"]), c.tensor(a["weight"]), bias)


def _elementwise(op: str) -> Callable[[_Capture, Any, dict[str, Any]], str]:
    def convert(c: _Capture, node: Any, a: dict[str, Any]) -> str:
        if a.get("alpha", 1) != 1:
            raise unknown("a scaled sum", str(node))
        return c.graph.add(op, c.tensor(a["self"]), c.tensor(a["other"]))

    return convert


OPERATORS: dict[str, Callable[[_Capture, Any, dict[str, Any]], str]] = {
    "conv2d": _conv,
    "batch_norm": _batch_norm,
    "relu": lambda c, node, a: c.graph.add("Relu", c.tensor(a["self"])),
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive,
    "cat": _cat,
    "flatten": _flatten,
    "linear": _linear,
    "dropout": lambda c, node, a: c.tensor(a["input"]),  # in inference
    "mul": _elementwise("Mul"),
    "add": _elementwise("Add"),
}
