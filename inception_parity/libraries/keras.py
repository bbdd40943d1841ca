"""Where a file of `keras.applications.InceptionV3` has its arrays.

Keras' layers are numbered: `conv2d_7` is the eighth convolution that was made, in the order in
which ours stand. In a file, however, layers come in the order of the model, which Keras sorts by
their depth, and Keras itself loads them by their place in that order, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..formats import Content

# The convolutions of a block in the model's order, by their number in the block.
_STEM = (0, 1, 2, 3, 4)
_A = (3, 1, 4, 0, 2, 5, 6)
_B = (1, 2, 0, 3)
_C = (4, 5, 1, 6, 2, 7, 0, 3, 8, 9)
_D = (2, 3, 0, 4, 1, 5)
_E = (4, 1, 5, 2, 3, 6, 7, 0, 8)
IN_MODEL: list[int] = []
for _block in (_STEM, _A, _A, _A, _B, _C, _C, _C, _C, _D, _E, _E):
    IN_MODEL += [len(IN_MODEL) + number for number in _block]

# Our name of an array -> its number among its layer's in newer files, and its name in older ones.
_ARRAYS = {
    "conv.weight": (0, "kernel"),
    "norm.bias": (0, "beta"),
    "norm.running_mean": (1, "moving_mean"),
    "norm.running_var": (2, "moving_variance"),
}


def blocks(shared: Iterable[str]) -> list[str]:
    """Return our blocks of three layers each, in the order in which Keras makes them."""
    return [n.removesuffix(".conv.weight") for n in shared if n.endswith(".conv.weight")]


def names(shared: Sequence[str], content: Content | None) -> dict[str, str]:
    """Return where in a file each array is, by its layer's place in the model."""
    made, found = blocks(shared), dict[str, str]()
    if len(made) == len(IN_MODEL):  # otherwise there is an auxiliary head, which Keras hasn't
        in_model = [made[number] for number in IN_MODEL]
        if content is not None and content.metadata.get("layout") == "older":
            found = _older(in_model, content)
        else:
            found = _newer(in_model, content)
    return {name: found.get(name, f"(no place for {name})") for name in shared}


def _newer(in_model: list[str], content: Content | None) -> dict[str, str]:
    prefix = "layers"
    if content is not None and not any(name.startswith("layers/") for name in content.arrays):
        prefix = "_layer_checkpoint_dependencies"  # as Keras 2.13 wrote it
    found = {"fc.weight": f"{prefix}/dense/vars/0", "fc.bias": f"{prefix}/dense/vars/1"}
    for place, block in enumerate(in_model):
        suffix = f"_{place}" if place else ""
        for array, (number, _) in _ARRAYS.items():
            kind = "conv2d" if array.startswith("conv") else "batch_normalization"
            found[f"{block}.{array}"] = f"{prefix}/{kind}{suffix}/vars/{number}"
    return found


def _older(in_model: list[str], content: Content) -> dict[str, str]:
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
    for place, block in enumerate(in_model):
        for array, (_, kind) in _ARRAYS.items():
            group = of_kind[array.partition(".")[0]]
            layer = group[place] if place < len(group) else f"layer {place + 1} of its kind"
            wanted.append((f"{block}.{array}", layer, kind))
    return {
        ours: layers.get(layer, {}).get(kind, f"{layer}/{kind}") for ours, layer, kind in wanted
    }
