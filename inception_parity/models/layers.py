"""What a captured layer is, described in the same way for every framework.

Kinds and settings are those of `diagnosis.suspect`: conv, dense, norm, max_pool, avg_pool,
adaptive_pool, global_pool, act, concat, add, flatten, lrn, lstm, gru, …; sizes are
(height, width), pads ((top, bottom), (left, right)). A kind that is not among them
is the framework's own name of the function: it is compared, but mistakes in it aren't explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# These pass values on: dropout does so in inference, and reshaping only moves them. An `index` is
# what is computed in integers or booleans, positions and masks, before a layer uses it.
TRANSPARENT = frozenset({"cast", "dropout", "flatten", "identity", "index", "permute", "reshape"})

Settings = dict[str, Any]


@dataclass(frozen=True)
class CapturedLayer:
    """One computation in a model.

    Args:
        name: the endpoint that holds its output.
        kind: what it is, as above.
        settings: its settings.
        weights: role (`weight`, `bias`, `running_mean`, …) -> the array's name in the trace.
        inputs: the endpoints that hold its inputs, where they are known.
        block: the dotted path of the model's part that it is in.
        own: what the framework itself calls it.
    """

    name: str
    kind: str
    settings: Settings = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    block: str = ""
    own: str = ""

    def describe(self) -> str:
        """Return the kind with its settings, in a few words: `conv 7x7/2 pad 3`."""
        return describe(self.kind, self.settings)


def describe(kind: str, settings: Mapping[str, Any]) -> str:
    """Return a kind with its settings, in a few words."""
    if kind == "act":
        return str(settings.get("function", "act"))
    words = [kind]
    if "kernel" in settings:
        kernel, stride = settings["kernel"], settings.get("stride", ())
        words.append("x".join(map(str, kernel)))
        if any(step != 1 for step in stride):
            words[-1] += "/" + _few(stride)
        pads = settings.get("pads", ())
        if any(side for pair in pads for side in pair):
            words.append(f"pad {_pads(pads)}")
    padded = any(side for pair in settings.get("pads", ()) for side in pair)
    for name, usual in (
        ("groups", 1), ("ceil", False), ("count_include_pad", None), ("eps", None),
        ("reverse", False), ("reset_after", True),
    ):  # fmt: skip
        value = settings.get(name, usual)
        if value != usual and (name != "count_include_pad" or padded):
            words.append(f"{name} {in_words(value)}")
    return " ".join(words)


def in_words(value: Any) -> str:
    """Return a setting, or its value in JSON, as it is printed."""
    if isinstance(value, list):
        return f"({', '.join(map(in_words, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _few(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))


def _pads(pads: Sequence[Sequence[int]]) -> str:
    flat = [side for pair in pads for side in pair]
    if len(set(flat)) == 1:
        return str(flat[0])
    if len({tuple(pair) for pair in pads}) == 1:
        return f"({pads[0][0]}, {pads[0][1]})"
    if all(pair[0] == pair[1] for pair in pads):
        return "x".join(str(pair[0]) for pair in pads)
    return str(tuple(tuple(pair) for pair in pads)).replace(" ", "")


def plain(value: Any) -> Any:
    """Return settings as JSON has them: tuples become lists, NumPy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        return value.item()
    return value if isinstance(value, (int, float)) else str(value)


def frozen(value: Any) -> Any:
    """Return settings as they were before JSON: lists become tuples."""
    if isinstance(value, dict):
        return {key: frozen(v) for key, v in value.items()}
    return tuple(frozen(v) for v in value) if isinstance(value, list) else value
