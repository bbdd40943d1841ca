"""How a mistake is fixed, in each framework's own terms: the lines of `fixes.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from .suspect import Pads, SuspectLayer

_Lines = Mapping[str, Mapping[str, str]]  # name -> backend -> line
_DATA = tomllib.loads(resources.files(__package__).joinpath("fixes.toml").read_text("utf-8"))
LAYERS: _Lines = _DATA["layers"]
FIXES: _Lines = _DATA["fixes"]


def fix(layer: SuspectLayer, name: str, /, **values: Any) -> str:
    """Return the line of a fix for the layer's backend, or the one for all others.

    Args:
        layer: the layer to be fixed.
        name: the fix's name in `fixes.toml`.
        values: what the line's other placeholders stand for.
    """
    lines = FIXES[name]
    line = lines.get(layer.backend) or lines.get("other", "")
    name_of_class = LAYERS.get(layer.kind, {}).get(layer.backend, "the layer")
    return line.format(layer=name_of_class, **values)


def argument(layer: SuspectLayer, text: str) -> str:
    """Return the fix of a layer that lacks an argument, or has another one."""
    return fix(layer, "argument", argument=text)


def padding(layer: SuspectLayer) -> str:
    """Return how the layer's framework is told the layer's padding."""
    pads: Pads = layer.get("pads")
    (top, bottom), (left, right) = pads
    even = top == bottom and left == right
    sides = f"(({top}, {bottom}), ({left}, {right}))"
    if even:
        sides = str(top) if top == left else f"({top}, {left})"
    name = "padding" if even else "uneven-padding"
    if layer.backend == "tf" and sides == "0":
        name = "no-padding"
    elif layer.backend == "tf" and layer.kind == "max_pool":
        name = "max-padding"
    return fix(layer, name, sides=sides, onnx=[top, left, bottom, right])
