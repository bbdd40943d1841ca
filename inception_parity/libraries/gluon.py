"""Names in the Gluon model zoo's older files.

Files from before 2018, those of the model zoo among them, and files of exported symbols have the
names of layers, counted within each stage: `A1_conv3_weight`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..formats import Content

SCOPES = {
    "Mixed_5b": "A1_",
    "Mixed_5c": "A2_",
    "Mixed_5d": "A3_",
    "Mixed_6a": "B_",
    "Mixed_6b": "C1_",
    "Mixed_6c": "C2_",
    "Mixed_6d": "C3_",
    "Mixed_6e": "C4_",
    "Mixed_7a": "D_",
    "Mixed_7b": "E1_",
    "Mixed_7c": "E2_",
}
_NORM = {"weight": "gamma", "bias": "beta"}


def names(network: str, shared: Sequence[str], content: Content | None) -> dict[str, str]:
    """Return {shared name: name in an older file}; nothing for a newer one."""
    if content is None or any(name.startswith("features.") for name in content.arrays):
        return {}
    bare = {re.sub(r"^(arg:|aux:)?(inception3\d+_)?", "", name): name for name in content.arrays}
    return {name: bare.get(layer, layer) for name, layer in by_layer(shared).items()}


def by_layer(shared: Sequence[str]) -> dict[str, str]:
    """Name arrays by layer, which Gluon counts within each of its name scopes."""
    found, counts = dict[str, str](), dict[str, int]()
    for name in shared:
        block, _, array = name.rpartition(".")
        block, _, layer = block.rpartition(".")
        scope = SCOPES.get(block.partition(".")[0], "")
        if layer == "conv":
            counts[scope] = counts.get(scope, -1) + 1
            found[name] = f"{scope}conv{counts[scope]}_weight"
        elif layer == "norm":
            found[name] = f"{scope}batchnorm{counts[scope]}_{_NORM.get(array, array)}"
        else:
            found[name] = f"dense0_{array}"
    return found
