"""Where a file of a network in `keras.applications` has its arrays.

Most of Keras' layers are numbered: `conv2d_7` is the eighth nameless convolution that was made, in
the order in which ours stand. In a file, however, layers come in the order of the model, which
Keras sorts by their depth, and Keras itself loads them by their place in that order, whatever they
are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..formats import Content

# The convolutions of a block in the model's order, by their number in the block.
_SINGLE = (0,)
_STEM = (0, 1, 2, 3, 4)
_A = (3, 1, 4, 0, 2, 5, 6)  # in a residual block, 6 projects the others
_B = (1, 2, 0, 3)
_C = (4, 5, 1, 6, 2, 7, 0, 3, 8, 9)
_D = (2, 3, 0, 4, 1, 5)
_E = (4, 1, 5, 2, 3, 6, 7, 0, 8)
_RESIDUAL = (1, 2, 0, 3, 4)  # on the 17x17 and 8x8 grids; 4 projects the others
_REDUCTION = (4, 0, 2, 5, 1, 3, 6)  # the residual network's second
BLOCKS = {
    "inception_v3": (_STEM, _A, _A, _A, _B, _C, _C, _C, _C, _D, _E, _E),
    "inception_resnet_v2": (
        *(_STEM, _A, *[_A] * 10, _B, *[_RESIDUAL] * 20, _REDUCTION, *[_RESIDUAL] * 10, _SINGLE),
    ),
}

# Our name of an array -> its number among its layer's in newer files, and its name in older ones.
_ARRAYS = {
    "conv.weight": (0, "kernel"),
    "conv.bias": (1, "bias"),
    "norm.bias": (0, "beta"),
    "norm.running_mean": (1, "moving_mean"),
    "norm.running_var": (2, "moving_variance"),
}
_LAYERS = {"conv": "conv2d", "norm": "batch_normalization"}


def in_model(network: str) -> list[int]:
    """Return the convolutions of a network in the model's order, by their number in ours."""
    order: list[int] = []
    for block in BLOCKS[network]:
        order += [len(order) + number for number in block]
    return order


def names(network: str, shared: Sequence[str], content: Content | None) -> dict[str, str]:
    """Return where in a file each array is, by its layer's place in the model."""
    made = [n.removesuffix(".conv.weight") for n in shared if n.endswith(".conv.weight")]
    order, found = in_model(network), dict[str, str]()
    if len(made) == len(order):  # otherwise there is an auxiliary head, which Keras hasn't
        ordered = [made[number] for number in order]
        if content is not None and content.metadata.get("layout") == "older":
            found = _older(shared, ordered, content)
        else:
            found = _newer(shared, ordered, content)
    return {name: found.get(name, f"(no place for {name})") for name in shared}


def _places(shared: Iterable[str], ordered: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return {our name of an array: its layer's kind, and place among those in the model}."""
    held, counts, found = set(shared), Counter[str](), dict[str, tuple[str, int]]()
    for block in ordered:
        for kind in _LAYERS:
            arrays = [f"{block}.{a}" for a in _ARRAYS if a.startswith(kind)]
            present = [name for name in arrays if name in held]
            found |= dict.fromkeys(present, (kind, counts[kind]))
            counts[kind] += bool(present)
    return found


def _array(ours: str) -> tuple[int, str]:
    return _ARRAYS[".".join(ours.split(".")[-2:])]


def _newer(shared: Sequence[str], ordered: list[str], content: Content | None) -> dict[str, str]:
    prefix = "layers"
    if content is not None and not any(name.startswith("layers/") for name in content.arrays):
        prefix = "_layer_checkpoint_dependencies"  # as Keras 2.13 wrote it
    found = {"fc.weight": f"{prefix}/dense/vars/0", "fc.bias": f"{prefix}/dense/vars/1"}
    for ours, (kind, place) in _places(shared, ordered).items():
        suffix = f"_{place}" if place else ""
        found[ours] = f"{prefix}/{_LAYERS[kind]}{suffix}/vars/{_array(ours)[0]}"
    return found


def _older(shared: Sequence[str], ordered: list[str], content: Content) -> dict[str, str]:
    """Return names in the older kind of file, whose layers may be called anything."""
    layers: dict[str, dict[str, str]] = {}  # name of a layer -> {kind of array: its name}
    for name in content.arrays:
        layer, _, rest = name.partition("/")
        layers.setdefault(layer, {})[rest.rpartition("/")[2].partition(":")[0]] = name

    def with_kernel(dimensions: int) -> list[str]:
        return [
            layer
            for layer, arrays in layers.items()
            if "kernel" in arrays and content.arrays[arrays["kernel"]].ndim == dimensions
        ]

    norms = [layer for layer, arrays in layers.items() if "moving_mean" in arrays]
    of_kind = {"conv": with_kernel(4), "norm": norms}
    wanted = [("fc.weight", next(iter(with_kernel(2)), "predictions"), "kernel")]
    wanted += [("fc.bias", wanted[0][1], "bias")]
    for ours, (kind, place) in _places(shared, ordered).items():
        group = of_kind[kind]
        layer = group[place] if place < len(group) else f"layer {place + 1} of its kind"
        wanted.append((ours, layer, _array(ours)[1]))
    return {
        ours: layers.get(layer, {}).get(kind, f"{layer}/{kind}") for ours, layer, kind in wanted
    }
