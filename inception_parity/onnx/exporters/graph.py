"""An ONNX graph that is being written: operators over named tensors, and which is which endpoint.

Nothing here needs a framework or ONNX itself. Arrays are (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass
class Node:
    """One operator, which makes one tensor."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""


class Graph:
    """Operators in the order in which they run.

    Weights are tensors under their shared names, all of them, used or not: a head
    that doesn't run in inference keeps its place in the file.

    Args:
        weights: every array of the network, in the shared layout.
        channels: of the images.
        size: (height, width) of the images.
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], channels: int, size: tuple[int, int]
    ) -> None:
        self.weights = dict(weights)
        self.channels = channels
        self.size = size
        self.input = "input"
        self.nodes: list[Node] = []
        self.outputs: dict[str, str] = {}  # name -> tensor
        self.endpoints: dict[str, str] = {}  # dotted path -> tensor, in execution order
        self.constants: dict[str, NDArray[Any]] = {}
        self._made: dict[str, Node] = {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator; return the tensor that it makes."""
        node = Node(op, list(inputs), f"#{len(self.nodes)}", attributes)
        self.nodes.append(node)
        self._made[node.output] = node
        return node.output

    def constant(self, array: NDArray[Any]) -> str:
        """Return a tensor that is this array: a constant of the network, not a weight."""
        name = f"#constant{len(self.constants)}"
        self.constants[name] = array
        return name

    def pad(self, x: str, pads: Pads, value: float) -> str:
        """Surround `x` by `value`; a convolution or pool that can will take the padding over."""
        if not any(pads):
            return x
        x, pads = self._unpadded(x, value, pads)
        return self.add("Pad", x, pads=pads, value=value)

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        """Cut `x` along an axis, from `start` up to, without, `end`."""
        bounds = (self.constant(np.array([n], np.int64)) for n in (start, end, axis))
        return self.add("Slice", x, *bounds)

    def scalar(self, value: float) -> str:
        """Return a tensor that is one number."""
        return self.constant(np.array(value, np.float32))

    def _unpadded(self, x: str, value: float, pads: Pads) -> tuple[str, Pads]:
        """Return what `x` was before it was padded with `value`, and the padding in all."""
        node = self._made.get(x)
        if node is None or node.op != "Pad" or node.attributes["value"] != value:
            return x, pads
        top, left, bottom, right = node.attributes["pads"]
        inner = (top + pads[0], left + pads[1], bottom + pads[2], right + pads[3])
        return node.inputs[0], inner

    def conv(
        self, x: str, weight: str, bias: str | None, stride: Pair, pads: Pads = (0, 0, 0, 0)
    ) -> str:
        """Add a convolution."""
        kernel = self.weights[weight].shape[2:]
        x, pads = self._unpadded(x, 0.0, pads)
        more = [] if bias is None else [bias]
        return self.add("Conv", x, weight, *more, kernel_shape=kernel, strides=stride, pads=pads)

    def batch_norm(
        self, x: str, weight: str | None, bias: str, mean: str, variance: str, eps: float
    ) -> str:
        """Add a batch norm in inference; without a weight, with ones."""
        if weight is None:
            weight = self.constant(np.ones_like(self.weights[bias]))
        return self.add("BatchNormalization", x, weight, bias, mean, variance, epsilon=eps)

    def max_pool(self, x: str, kernel: Pair, stride: Pair, pads: Pads = (0, 0, 0, 0)) -> str:
        """Add a max pool, never in ceil mode: `pads` says what that would add at the end."""
        x, pads = self._unpadded(x, -np.inf, pads)
        return self.add("MaxPool", x, kernel_shape=kernel, strides=stride, pads=pads)

    def avg_pool(
        self, x: str, kernel: Pair, stride: Pair, pads: Pads = (0, 0, 0, 0), counted: bool = False
    ) -> str:
        """Add an average pool, whose padding is counted or not."""
        if counted or not any(pads):
            x, pads = self._unpadded(x, 0.0, pads)
            counted = any(pads)
        return self.add(
            "AveragePool", x, kernel_shape=kernel, strides=stride, pads=pads,
            count_include_pad=int(counted),
        )  # fmt: skip

    def adaptive_avg_pool(self, x: str, size: Pair, windows: Pair) -> str:
        """Add means over `windows` rectangles of a grid of `size`.

        ONNX has no such operator. Where the windows are all alike it is an average
        pool; where they aren't, sums by products with zeros and ones, and a
        division: whole numbers, exact in every dtype.
        """
        if windows == (1, 1):
            return self.add("GlobalAveragePool", x)
        (height, width), (n, m) = size, windows
        if height % n == 0 and width % m == 0:
            window = (height // n, width // m)
            return self.avg_pool(x, window, window)
        rows, columns = _windows(height, n), _windows(width, m)
        counts = np.outer(rows.sum(axis=1), columns.sum(axis=1)).astype(np.float32)
        x = self.add("MatMul", x, self.constant(np.ascontiguousarray(columns.T)))
        x = self.add("MatMul", self.constant(rows), x)
        return self.add("Div", x, self.constant(counts))

    def linear(self, x: str, weight: str, bias: str | None) -> str:
        """Add a dense layer."""
        more = [] if bias is None else [bias]
        return self.add("Gemm", x, weight, *more, transB=1)

    def response_norm(self, x: str, size: int, alpha: float, beta: float, k: float) -> str:
        """Add local response normalisation, whose windows are centred."""
        return self.add("LRN", x, size=size, alpha=alpha, beta=beta, bias=k)

    def finish(self) -> list[Node]:
        """Return the operators that something needs, and give everything its final name.

        A tensor is called as the output or the layer that it is; what a layer needs
        inside, as that layer and the operator.
        """
        self.nodes = self._needed()
        for node in self.nodes:
            if node.op == "Pad":
                top, left, bottom, right = node.attributes["pads"]
                pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
                value = self.scalar(node.attributes["value"])
                node.inputs, node.attributes = [*node.inputs, self.constant(pads), value], {}
        final = {tensor: name for name, tensor in reversed(self.outputs.items())}
        leaves = [path for path in self.endpoints if self.is_leaf(path)]
        for path in [*leaves, *self.endpoints]:
            if self.endpoints[path] != self.input:
                final.setdefault(self.endpoints[path], path)
        owners: dict[str, str] = {}  # tensor -> the layer that it is in
        taken: set[str] = {self.input, *self.weights, *final.values()}
        for node in reversed(self.nodes):
            owner = final.get(node.output) or owners[node.output]
            node.name = _free(f"{owner}/{node.op}", taken)
            final.setdefault(node.output, node.name)
            for tensor in node.inputs:
                owners.setdefault(tensor, owner)
        for tensor in self.constants:
            if tensor in owners:
                final[tensor] = _free(f"{owners[tensor]}/Constant", taken)
        for node in self.nodes:
            node.inputs = [final.get(tensor, tensor) for tensor in node.inputs]
            node.output = final[node.output]
        self.constants = {final[t]: a for t, a in self.constants.items() if t in owners}
        self.endpoints = {p: final.get(t, t) for p, t in self.endpoints.items()}
        self.outputs = {name: final[tensor] for name, tensor in self.outputs.items()}
        return self.nodes

    def is_leaf(self, path: str) -> bool:
        """Return whether no other endpoint is inside this one."""
        return not any(other.startswith(f"{path}.") for other in self.endpoints)

    def _needed(self) -> list[Node]:
        wanted = {*self.outputs.values(), *self.endpoints.values()}
        kept = []
        for node in reversed(self.nodes):
            if node.output in wanted:
                kept.append(node)
                wanted.update(node.inputs)
        return kept[::-1]


def _windows(size: int, windows: int) -> NDArray[np.float32]:
    """Return zeros and ones: row i has ones where window i is."""
    rows = np.zeros((windows, size), np.float32)
    for i in range(windows):
        rows[i, i * size // windows : -(-(i + 1) * size // windows)] = 1
    return rows


def _free(name: str, taken: set[str]) -> str:
    """Return `name`, numbered if it is taken, and take it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}{number}"
    taken.add(free)
    return free


def same_pads(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> Pads:
    """Return the padding that TensorFlow's `same` adds: what is odd goes to the end."""
    needed = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)
    ]
    (height, width) = needed
    return height // 2, width // 2, height - height // 2, width - width // 2
