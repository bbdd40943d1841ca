"""MXNet's `gluon.model_zoo.vision.inception_v3`.

Its blocks are lists, so that names are numbers: `features.7.2.1.0.weight` is, of the
eighth stage, the third branch's second convolution. Files of before 2018, those of the
model zoo among them, and files of exported symbols name the layers instead, counted
within each stage: `A1_conv3_weight`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..formats import Content
from . import Implementation, Library

LIBRARY = Library(
    name="gluon",
    title="MXNet Gluon",
    distribution="mxnet",
    backend="mx",
    formats=("mxnet",),
    suffixes=(".params",),
    networks={
        "inception_v3": Implementation(
            "inception_v3",
            {
                "use_aux": False,
                "transform_input": False,
                "count_include_pad": True,
                "bn_scale": True,
                "bn_eps": 1e-3,
            },
            ("in_channels",),
            # Its last pool is 8x8 at stride 8: on larger grids it leaves out the rest.
            sizes=((299, 299), (306, 327)),
            notes=(
                "its last pool is 8x8: it computes the same on images of 299 to 330 pixels only",
            ),
        ),
    },
)

STAGES = {  # ours -> the number among `features`, and the name scope
    "Conv2d_1a_3x3": (0, ""),
    "Conv2d_2a_3x3": (1, ""),
    "Conv2d_2b_3x3": (2, ""),
    "maxpool1": (3, ""),
    "Conv2d_3b_1x1": (4, ""),
    "Conv2d_4a_3x3": (5, ""),
    "maxpool2": (6, ""),
    "Mixed_5b": (7, "A1_"),
    "Mixed_5c": (8, "A2_"),
    "Mixed_5d": (9, "A3_"),
    "Mixed_6a": (10, "B_"),
    "Mixed_6b": (11, "C1_"),
    "Mixed_6c": (12, "C2_"),
    "Mixed_6d": (13, "C3_"),
    "Mixed_6e": (14, "C4_"),
    "Mixed_7a": (15, "D_"),
    "Mixed_7b": (16, "E1_"),
    "Mixed_7c": (17, "E2_"),
}

_A = {
    "branch1x1": "0.0", "branch5x5_1": "1.0", "branch5x5_2": "1.1",
    "branch3x3dbl_1": "2.0", "branch3x3dbl_2": "2.1", "branch3x3dbl_3": "2.2",
    "pool": "3.0", "branch_pool": "3.1",
}  # fmt: skip
_B = {
    "branch3x3": "0.0", "branch3x3dbl_1": "1.0", "branch3x3dbl_2": "1.1",
    "branch3x3dbl_3": "1.2", "pool": "2.0",
}  # fmt: skip
_C = {
    "branch1x1": "0.0",
    **{f"branch7x7_{i + 1}": f"1.{i}" for i in range(3)},
    **{f"branch7x7dbl_{i + 1}": f"2.{i}" for i in range(5)},
    "pool": "3.0", "branch_pool": "3.1",
}  # fmt: skip
_D = {
    "branch3x3_1": "0.0", "branch3x3_2": "0.1",
    **{f"branch7x7x3_{i + 1}": f"1.{i}" for i in range(4)},
    "pool": "2.0",
}  # fmt: skip
_E = {
    "branch1x1": "0.0",
    "branch3x3_1": "1.0.0", "branch3x3_2a": "1.1.0.0", "branch3x3_2b": "1.1.1.0",
    "branch3x3dbl_1": "2.0.0", "branch3x3dbl_2": "2.0.1",
    "branch3x3dbl_3a": "2.1.0.0", "branch3x3dbl_3b": "2.1.1.0",
    "pool": "3.0", "branch_pool": "3.1",
}  # fmt: skip
_BLOCKS = {"A": _A, "B": _B, "C": _C, "D": _D, "E": _E}

_LAYERS = {"conv": "0", "norm": "1", "act": "2"}
_ARRAYS = {
    "norm.weight": "gamma",
    "norm.bias": "beta",
    "norm.running_mean": "running_mean",
    "norm.running_var": "running_var",
}


def path(network: str, ours: str) -> str:
    """`Mixed_5b.branch1x1.conv` -> `features.7.0.0.0`."""
    stage, _, inside = ours.partition(".")
    if stage not in STAGES:
        return "output" if ours == "fc" else ours
    number, scope = STAGES[stage]
    if scope and inside:
        branch, _, inside = inside.partition(".")
        table = _BLOCKS[scope[0]]
        if branch not in table:
            return ours
        found = f"features.{number}.{table[branch]}"
    else:
        found = f"features.{number}"
    return f"{found}.{_LAYERS[inside]}" if inside else found


def names(network: str, shared: Iterable[str], content: Content | None) -> dict[str, str]:
    """Return the parameters' names, as the file has them: by blocks, or by layers."""
    shared = list(shared)
    known = set() if content is None else set(content.arrays)
    if content is None or any(name.startswith("features.") for name in known):
        return {name: _by_block(network, name) for name in shared}
    bare = {re.sub(r"^(arg:|aux:)?(inception3\d+_)?", "", name): name for name in known}
    return {name: bare.get(layer, layer) for name, layer in _by_layer(shared).items()}


def _by_block(network: str, name: str) -> str:
    layer, _, last = name.rpartition(".")
    kind = f"{layer.rpartition('.')[2]}.{last}"
    return f"{path(network, layer)}.{_ARRAYS.get(kind, last)}"


def _by_layer(shared: list[str]) -> dict[str, str]:
    """Name arrays by layer, which Gluon counts within each of its name scopes."""
    found, counts = {"fc.weight": "dense0_weight", "fc.bias": "dense0_bias"}, dict[str, int]()
    for name in shared:
        if not name.endswith(".conv.weight"):
            continue
        block = name.removesuffix(".conv.weight")
        scope = STAGES.get(block.partition(".")[0], (0, "AuxLogits_"))[1]
        number = counts[scope] = counts.get(scope, -1) + 1
        found[name] = f"{scope}conv{number}_weight"
        for ours, theirs in _ARRAYS.items():
            found[f"{block}.{ours}"] = f"{scope}batchnorm{number}_{theirs}"
    return {name: found.get(name, name) for name in shared}
