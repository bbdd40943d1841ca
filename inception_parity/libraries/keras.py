"""Keras' `keras.applications.InceptionV3`.

Its layers have no names of their own but numbers: `conv2d_7` is the eighth that was
made, in the order in which our convolutions stand. In a file, though, layers come in the
order of the model, which Keras sorts by their depth; and it is by their place in that
order that Keras itself loads them, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from ..formats import Content
from . import Implementation, Library

LIBRARY = Library(
    name="keras",
    title="Keras",
    distribution="keras",
    backend="tf",
    formats=("keras",),
    suffixes=(".weights.h5",),
    networks={
        "inception_v3": Implementation(
            "InceptionV3",
            {
                "use_aux": False,
                "transform_input": False,
                "count_include_pad": False,
                "bn_scale": False,
                "bn_eps": 1e-3,
            },
            ("in_channels",),
            notes=("it ends in a softmax unless it is made with classifier_activation=None",),
        ),
    },
    channels_last=True,
)

STAGES = {  # Keras' name of a layer -> ours
    **{f"mixed{i}": f"Mixed_5{letter}" for i, letter in enumerate("bcd")},
    **{f"mixed{3 + i}": f"Mixed_6{letter}" for i, letter in enumerate("abcde")},
    **{f"mixed{8 + i}": f"Mixed_7{letter}" for i, letter in enumerate("abc")},
    "mixed9_0": "Mixed_7b.branch3x3_concat",
    "mixed9_1": "Mixed_7c.branch3x3_concat",
    "predictions": "fc",
}

# The convolutions of a block in the model's order, by their number in the block.
_STEM = (0, 1, 2, 3, 4)
_A = (3, 1, 4, 0, 2, 5, 6)
_B = (1, 2, 0, 3)
_C = (4, 5, 1, 6, 2, 7, 0, 3, 8, 9)
_D = (2, 3, 0, 4, 1, 5)
_E = (4, 1, 5, 2, 3, 6, 7, 0, 8)
_BLOCKS = (_STEM, _A, _A, _A, _B, _C, _C, _C, _C, _D, _E, _E)
_STARTS = [sum(map(len, _BLOCKS[:i])) for i in range(len(_BLOCKS) + 1)]
IN_MODEL = [
    start + number
    for (start, _), block in zip(pairwise(_STARTS), _BLOCKS, strict=True)
    for number in block
]

_NEWER = {"conv.weight": 0, "norm.bias": 0, "norm.running_mean": 1, "norm.running_var": 2}
_OLDER = {
    "conv.weight": "kernel",
    "norm.bias": "beta",
    "norm.running_mean": "moving_mean",
    "norm.running_var": "moving_variance",
}


def path(network: str, ours: str) -> str:
    """Return the name of the layer that is a stage of ours."""
    return {stage: name for name, stage in STAGES.items()}.get(ours, ours)


def blocks(shared: Iterable[str]) -> list[str]:
    """Return our blocks of three layers each, in the order in which Keras makes them."""
    return [n.removesuffix(".conv.weight") for n in shared if n.endswith(".conv.weight")]


def names(network: str, shared: Iterable[str], content: Content | None) -> dict[str, str]:
    """Return where in a file each array is, by its layer's place in the model."""
    shared = list(shared)
    made = blocks(shared)
    if len(made) != len(IN_MODEL):  # with an auxiliary head, which Keras hasn't
        return {name: f"(no place for {name})" for name in shared}
    if content is not None and content.metadata.get("layout") == "older":
        return _older(shared, made, content)
    prefix = "layers"
    if content is not None and not any(name.startswith("layers/") for name in content.arrays):
        prefix = "_layer_checkpoint_dependencies"  # as Keras 2.13 wrote it
    found = {"fc.weight": f"{prefix}/dense/vars/0", "fc.bias": f"{prefix}/dense/vars/1"}
    for place, number in enumerate(IN_MODEL):
        suffix = f"_{place}" if place else ""
        for array, index in _NEWER.items():
            kind = "conv2d" if array.startswith("conv") else "batch_normalization"
            found[f"{made[number]}.{array}"] = f"{prefix}/{kind}{suffix}/vars/{index}"
    return {name: found.get(name, f"(no place for {name})") for name in shared}


def _older(shared: list[str], made: list[str], content: Content) -> dict[str, str]:
    """Return names in the older kind of file, whose layers may be called anything."""
    layers: dict[str, dict[str, str]] = {}  # name of a layer -> {kind of array: its name}
    for name in content.arrays:
        layer, _, rest = name.partition("/")
        layers.setdefault(layer, {})[rest.rpartition("/")[2].partition(":")[0]] = name
    kernels = {
        layer: content.arrays[a["kernel"]].ndim for layer, a in layers.items() if "kernel" in a
    }
    convs = [layer for layer, dimensions in kernels.items() if dimensions == 4]
    norms = [layer for layer, arrays in layers.items() if "moving_mean" in arrays]
    dense = [layer for layer, dimensions in kernels.items() if dimensions == 2]
    found = {}
    for place, number in enumerate(IN_MODEL):
        for array, kind in _OLDER.items():
            group = convs if array.startswith("conv") else norms
            layer = group[place] if place < len(group) else f"layer {place + 1} of its kind"
            found[f"{made[number]}.{array}"] = layers.get(layer, {}).get(kind, f"{layer}/{kind}")
    for array, kind in (("fc.weight", "kernel"), ("fc.bias", "bias")):
        layer = dense[0] if dense else "predictions"
        found[array] = layers.get(layer, {}).get(kind, f"{layer}/{kind}")
    return {name: found.get(name, f"(no place for {name})") for name in shared}
