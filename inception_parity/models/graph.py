"""The layers of a captured model that are compared, without what only its framework adds.

Layers that pass values on (dropout, flatten, casts) are taken out; zero padding
becomes part of the convolution or pool that it is for; a bias added separately
becomes the convolution's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import TRANSPARENT, CapturedLayer, Settings, describe
from .recorder import OUTPUT, ModelTrace

Array = NDArray[Any]

# What nothing needs if nothing uses it: values that are picked, masks that are prepared.
PICKING = (
    "slice", "stack", "cell_state", "attention_weights", "zeros_like", "masked_fill", *TRANSPARENT,
)  # fmt: skip


@dataclass(frozen=True)
class ComparedLayer:
    """A layer that is compared.

    Args:
        name: the layer's name.
        value: the endpoint that holds its output.
        kind: what it is.
        settings: its settings, including those of a padding before it.
        weights: role -> (layer, role) in the trace.
        shape: of its output, without trailing ones.
        inputs: the names of the nodes before it.
        sources: the endpoints that hold its inputs.
    """

    name: str
    value: str
    kind: str
    settings: Settings
    weights: Mapping[str, tuple[str, str]]
    shape: tuple[int, ...]
    inputs: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def is_dense(self) -> bool:
        """Whether it is a dense layer, or one written as a 1x1 convolution of a single pixel."""
        pixel = self.kind == "conv" and len(self.shape) == 2 and self.settings.get("groups") == 1
        return self.kind == "dense" or (pixel and set(self.settings["kernel"]) == {1})

    def describe(self) -> str:
        """Return the kind with its settings."""
        return describe(self.kind, self.settings)


@dataclass
class ModelGraph:
    """The layers of a trace that are compared, in execution order."""

    trace: ModelTrace
    nodes: dict[str, ComparedLayer]
    returned: dict[str, tuple[str, ...]] = field(default_factory=dict)  # output -> its layer
    followers: dict[str, list[str]] = field(init=False)
    _digests: dict[str, tuple[tuple[int, ...], bytes]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.followers = _followers(self.nodes)

    def neighbours(self, name: str) -> tuple[str, ...]:
        """Return the layers just before one, and just after it."""
        return (*self.nodes[name].inputs, *self.followers[name])

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Return the layers just before a layer, or the layer that an output comes from."""
        return self.nodes[name].inputs if name in self.nodes else self.returned.get(name, ())

    def before(self, name: str, matched: Container[str]) -> tuple[list[str], list[str]]:
        """Return the nearest matched layers before one or an output, and unmatched ones between."""
        nearest: list[str] = []
        between: list[str] = []
        todo = list(self.inputs_of(name))
        while todo:
            source = todo.pop(0)
            found = nearest if source in matched else between
            if source not in found:
                found.append(source)
                todo += self.nodes[source].inputs if found is between else ()
        return nearest, between

    def reached(self, names: Iterable[str]) -> set[str]:
        """Return layers and all that is computed from them."""
        found: set[str] = set()
        todo = [name for name in names if name in self.nodes]
        while todo:
            here = todo.pop()
            if here not in found:
                found.add(here)
                todo += self.followers[here]
        return found

    def kernel(self, name: str) -> tuple[int, ...]:
        """Return the shape of a node's kernel without trailing ones; () if it has none.

        A norm's scale isn't one.
        """
        node = self.nodes[name]
        if "weight" not in node.weights or node.kind == "norm":
            return ()
        layer, role = node.weights["weight"]
        slot = self.trace.slots.get((layer, role))
        return squeezed((slot.shared if slot else self.trace.weight(layer, role)).shape)

    def digest(self, node: ComparedLayer) -> tuple[tuple[int, ...], bytes] | None:
        """Return what distinguishes weights: the shape, and a hash of a float32 copy."""
        if node.name not in self._digests and "weight" in node.weights:
            array = np.ascontiguousarray(self.array(node, "weight"), dtype=np.float32)
            self._digests[node.name] = squeezed(array.shape), hashlib.sha256(array.data).digest()
        return self._digests.get(node.name)

    def array(self, node: ComparedLayer, role: str) -> Array | None:
        """Return one of a node's arrays, or None if it has none of that role."""
        return self.trace.weight(*node.weights[role]) if role in node.weights else None


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without trailing ones beyond two axes: (N, C, 1, 1) is (N, C)."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def graph_of(trace: ModelTrace) -> ModelGraph:
    """Return the graph of a trace's layers that are compared."""
    stands_for: dict[str, str] = {}  # an endpoint -> the node that it comes from
    pads: dict[str, tuple[str, Any]] = {}  # a padded endpoint -> what was padded, and how
    nodes: dict[str, ComparedLayer] = {}
    returned: dict[str, tuple[str, ...]] = {}
    followers = _followers(trace.layers)
    unused = _unused(trace, followers)
    for name, layer in trace.layers.items():
        first = layer.inputs[0] if layer.inputs else None
        if layer.kind == OUTPUT:
            returned[name] = tuple(stands_for[source] for source in layer.inputs)
            continue
        if name in unused:
            continue
        if layer.kind in TRANSPARENT and first is not None:
            stands_for[name] = stands_for[first]
            continue
        if layer.kind == "pad" and first is not None and _goes_into_windows(trace, name, followers):
            pads[name] = (first, layer.settings)
            stands_for[name] = stands_for[first]
            continue
        if layer.kind == "bias" and first is not None and _is_its_bias(nodes, stands_for, first):
            owner = nodes[stands_for[first]]
            weights = {**owner.weights, **{role: (name, role) for role in layer.weights}}
            nodes[owner.name] = replace(owner, value=name, weights=weights)
            stands_for[name] = owner.name
            continue
        if layer.kind == "slice" and first is not None and _cuts(trace, layer, first, followers):
            owner = nodes[stands_for[first]]
            shape = trace.endpoints[first].shape
            nodes[owner.name] = replace(
                owner, value=name, settings=_cut(owner.settings, layer.settings, shape),
                shape=squeezed(trace.endpoints[name].shape),
            )  # fmt: skip
            stands_for[name] = owner.name
            continue
        settings, sources = dict(layer.settings), layer.inputs
        if first in pads and first is not None:
            source, padding = pads[first]
            settings, sources = _with_pads(layer.kind, settings, padding), (source,)
        stands_for[name] = name
        nodes[name] = ComparedLayer(
            name,
            name,
            layer.kind,
            settings,
            {role: (name, role) for role in layer.weights},
            squeezed(trace.endpoints[name].shape),
            tuple(dict.fromkeys(stands_for[source] for source in layer.inputs)),
            tuple(sources),
        )
    return ModelGraph(trace, nodes, returned)


def _cuts(
    trace: ModelTrace, layer: CapturedLayer, first: str, followers: Mapping[str, list[str]]
) -> bool:
    """Return whether it cuts the output of a transposed convolution to size, and nothing else."""
    ranges = layer.settings.get("ranges", {})
    spatial = bool(ranges) and all(int(a) > 1 and r[2] == 1 for a, r in ranges.items())
    return spatial and trace.layers[first].kind == "conv_transpose" and len(followers[first]) == 1


def _cut(settings: Settings, cut: Settings, shape: tuple[int, ...]) -> Settings:
    pads = [tuple(pair) for pair in settings["pads"]]
    for axis, (begin, end, _) in cut["ranges"].items():
        before, after = pads[int(axis) - 2]
        pads[int(axis) - 2] = (before + begin, after + shape[int(axis)] - end)
    return {**settings, "pads": tuple(pads)}


def _followers(layers: Mapping[str, CapturedLayer | ComparedLayer]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in layers}
    for name, layer in layers.items():
        for source in layer.inputs:
            found[source].append(name)
    return found


def _unused(trace: ModelTrace, followers: Mapping[str, list[str]]) -> set[str]:
    """Return what only picks values that nothing uses, as a recurrent layer's final states."""
    found: set[str] = set()
    for name in reversed(trace.layers):
        if trace.layers[name].kind in PICKING and found.issuperset(followers[name]):
            found.add(name)
    return found


def _goes_into_windows(trace: ModelTrace, name: str, followers: Mapping[str, list[str]]) -> bool:
    """Return whether only convolutions and pools follow a padding."""
    layer = trace.layers[name]
    windows = ("conv", "max_pool", "avg_pool")
    constant = layer.settings.get("mode") == "constant"
    into = [trace.layers[f] for f in followers[name]]
    return constant and bool(into) and all(
        f.kind in windows and len(f.settings["pads"]) == len(layer.settings["pads"]) for f in into
    )  # fmt: skip


def _is_its_bias(
    nodes: Mapping[str, ComparedLayer], stands_for: Mapping[str, str], first: str
) -> bool:
    owner = nodes.get(stands_for[first])
    return owner is not None and owner.kind in ("conv", "dense") and "bias" not in owner.weights


def _with_pads(kind: str, settings: Settings, padding: Settings) -> Settings:
    both = zip(settings["pads"], padding["pads"], strict=True)
    settings["pads"] = tuple((a + c, b + d) for (a, b), (c, d) in both)
    if kind == "max_pool" or padding.get("fill"):
        settings["fill"] = padding.get("fill", 0.0)  # a pool's own padding is never the largest
    if kind == "avg_pool":
        settings["count_include_pad"] = True
    return settings
