"""MXNet: the symbol of a network, node by node. Its own exporter needs an onnx of years ago."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from inception_mx._mxnet import mxnet
from inception_mx.layers import LocalResponseNorm
from inception_mx.weights import _arrays

from ...backends import Adapter
from . import unknown
from .graph import Graph, Pads

INPUT = "data"


def trace(backend: Adapter, net: Any, outputs: tuple[str, ...], size: tuple[int, int]) -> Graph:
    """Return the graph of a Gluon network."""
    channels = int(net.options["in_channels"])
    symbols: dict[str, Any] = {}  # module -> what it makes
    norms: dict[str, tuple[Any, str]] = {}  # what a response norm makes -> the layer and its input
    with ExitStack() as stack:
        for path, module, _ in backend.modules(net):
            before, after = _watch(path, module, symbols, norms)
            stack.callback(backend.attach(module, before, after))
        returned = net(mxnet.sym.var(INPUT).as_np_ndarray())
    heads = returned if isinstance(returned, (list, tuple)) else (returned,)
    group = mxnet.sym.Group([head.as_nd_ndarray() for head in heads])
    graph = Graph(backend.get_weights(net), channels, size)
    names = {parameter.name: name for name, parameter in _arrays(net).items()}
    symbol = _Symbol(graph, group, names, norms)
    symbol.run()
    graph.endpoints = {path: symbol.values[_name(made)] for path, made in symbols.items()}
    for name, head in zip(outputs, heads, strict=False):
        graph.outputs[name] = symbol.values[_name(head)]
    return graph


def _name(symbol: Any) -> str:
    """Return the name of the node that makes a symbol."""
    return str(symbol.name)


def _watch(
    path: str, module: Any, symbols: dict[str, Any], norms: dict[str, tuple[Any, str]]
) -> tuple[Callable[..., Any], Callable[..., None]]:
    def after(args: tuple[Any, ...], made: Any) -> None:
        if path:
            symbols[path] = made
        if isinstance(module, LocalResponseNorm):
            norms[_name(made)] = (module, _name(args[0]))

    return lambda args: args, after


class _Symbol:
    """One symbol, on its way into a graph."""

    def __init__(
        self, graph: Graph, group: Any, names: dict[str, str], norms: dict[str, tuple[Any, str]]
    ) -> None:
        self.graph = graph
        read = json.loads(group.tojson())
        self.nodes = read["nodes"]
        self.heads = [index for index, *_ in read["heads"]]
        self.norms = norms
        self.values: dict[str, str] = {INPUT: graph.input, **names}  # node -> tensor
        self.filled: dict[str, float] = {}  # node -> the number that all of it is
        _, shapes, _ = group.get_internals().infer_shape(
            **{INPUT: (2, graph.channels, *graph.size)}
        )  # in the order of the nodes, each of which shows one output here
        made = zip(self.nodes, shapes, strict=True)
        self.shapes: dict[str, tuple[int, ...]] = {node["name"]: shape for node, shape in made}

    def run(self) -> None:
        needed = self._needed()
        for node in self.nodes:
            name = node["name"]
            if node["op"] == "null" or name not in needed:
                continue
            if name in self.norms:
                layer, source = self.norms[name]
                if layer.size % 2 == 0:
                    raise unknown(f"local response norm over {layer.size} channels", name)
                self.values[name] = self.graph.response_norm(
                    self.values[source], layer.size, layer.alpha, layer.beta, layer.k
                )
            else:
                self._convert(node)

    def _needed(self) -> set[str]:
        """Return the nodes that the heads need, where a response norm is one node."""
        needed = {self.nodes[index]["name"] for index in self.heads}
        for node in reversed(self.nodes):
            name = node["name"]
            if name in self.norms:
                needed.add(self.norms[name][1])
            elif name in needed:
                needed.update(self.nodes[index]["name"] for index, *_ in node["inputs"])
        return needed

    def _convert(self, node: dict[str, Any]) -> None:
        convert = OPERATORS.get(node["op"])
        if convert is None:
            raise unknown(f"MXNet's {node['op']}", node["name"])
        attributes = {k: _literal(v) for k, v in (node.get("attrs") or {}).items()}
        sources = [self.nodes[index]["name"] for index, *_ in node["inputs"]]
        made = convert(self, node["name"], sources, attributes)
        if isinstance(made, float):
            self.filled[node["name"]] = made
        else:
            self.values[node["name"]] = made


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _symmetric(pad: tuple[int, int]) -> Pads:
    return (*pad, *pad)


def _convolution(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    if a["layout"] != "NCHW" or a["dilate"] != (1, 1) or a["num_group"] != 1:
        raise unknown("a dilated, grouped or channels-last convolution", name)
    x, weight, *bias = map(s.values.__getitem__, sources)
    return s.graph.conv(x, weight, bias[0] if bias else None, a["stride"], _symmetric(a["pad"]))


def _batch_norm(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    x, gamma, beta, mean, variance = (s.values.get(source, "") for source in sources)
    weight = None if a["fix_gamma"] else gamma
    return s.graph.batch_norm(x, weight, beta, mean, variance, a["eps"])


def _activation(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    if a["act_type"] != "relu":
        raise unknown(f"activation {a['act_type']}", name)
    return s.graph.add("Relu", s.values[sources[0]])


def _pooling(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    x = s.values[sources[0]]
    if a["global_pool"]:
        return s.graph.add("GlobalAveragePool", x)
    if a["pooling_convention"] != "valid":
        raise unknown(f"pooling convention {a['pooling_convention']}", name)
    if a["pool_type"] == "max":
        return s.graph.max_pool(x, a["kernel"], a["stride"], _symmetric(a["pad"]))
    counted = a.get("count_include_pad", True)
    return s.graph.avg_pool(x, a["kernel"], a["stride"], _symmetric(a["pad"]), counted)


def _concatenate(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    """Join arrays; what is one number only, at the end of height or width, is padding."""
    full = [source for source in sources if source in s.filled]
    if not full:
        return s.graph.add("Concat", *map(s.values.__getitem__, sources), axis=a["axis"])
    axis, value = a["axis"], s.filled[full[0]]
    if sources[1:] != full or axis not in (2, 3) or {s.filled[f] for f in full} != {value}:
        raise unknown("a concatenation with constants", name)
    added = sum(s.shapes[source][axis] for source in full)
    pads: Pads = (0, 0, added, 0) if axis == 2 else (0, 0, 0, added)
    x = s.values[sources[0]]
    return s.graph.pad(x, pads, value)


def _slice(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    """Cut along one axis, from a number up to another."""
    axis = len(a["begin"]) - 1
    starts, ends = a["begin"], a["end"]
    if any(n is not None for n in (*starts[:-1], *ends[:-1])) or set(a["step"]) != {None}:
        raise unknown("a slice with steps, or along several axes", name)
    return s.graph.slice(s.values[sources[0]], axis, starts[-1] or 0, ends[-1])


def _reshape(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    if s.shapes[name] != s.shapes[sources[0]]:
        raise unknown("a reshape", name)
    return s.values[sources[0]]  # what indexing ends with, which changes nothing


def _full_like(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> float:
    return -math.inf if a["fill_value"] == "-inf" else float(a["fill_value"])


def _scalar(op: str) -> Callable[[_Symbol, str, list[str], dict[str, Any]], str]:
    def convert(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
        return s.graph.add(op, s.values[sources[0]], s.graph.scalar(float(a["scalar"])))

    return convert


def _adaptive(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    _, _, height, width = s.shapes[sources[0]]
    return s.graph.adaptive_avg_pool(s.values[sources[0]], (height, width), a["output_size"])


def _dense(s: _Symbol, name: str, sources: list[str], a: dict[str, Any]) -> str:
    x, weight, *bias = map(s.values.__getitem__, sources)
    return s.graph.linear(x, weight, bias[0] if bias else None)


OPERATORS: dict[str, Callable[[_Symbol, str, list[str], dict[str, Any]], str | float]] = {
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
    "Activation": _activation,
    "Pooling": _pooling,
    "_npi_concatenate": _concatenate,
    "slice": _slice,
    "_npx_reshape": _reshape,
    "_npi_full_like": _full_like,
    "_npi_multiply_scalar": _scalar("Mul"),
    "_npi_add_scalar": _scalar("Add"),
    "_contrib_AdaptiveAvgPooling2D": _adaptive,
    "Flatten": lambda s, name, sources, a: s.graph.add("Flatten", s.values[sources[0]], axis=1),
    "FullyConnected": _dense,
    "Dropout": lambda s, name, sources, a: s.values[sources[0]],  # in inference
}
