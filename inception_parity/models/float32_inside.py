"""Which differences of a float64 run come from float32 inside a framework's own operation.

Some operations keep a constant in float32 or compute a part in it, whatever the dtype of
what they are given: `float32_inside.toml` has them, as measured. Such a layer is up to 1e-6
off, and everything after it with it. Two things keep this from hiding a mistake:

- A layer passes only if what both models give is reproduced: by the exact operation, or by one
  with float32 inside as the table says of that framework, computed from the layer's own input
  with the *first* model's settings and weights. Constants are reproduced to 1e-10, operations
  in float32 to a few units of roundoff. An eps, a slope or a weight that is off by more is found.
- What follows is judged without it: one of the two models runs again, and behind such a layer
  it goes on with the other model's values. All else has to agree to 1e-10 then, whatever it
  is. That needs neither a tolerance nor formulas for the layers that follow.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.limits import LIMIT_FLOAT64
from ..diagnosis.activations import erf
from ..diagnosis.arrays import CannotComputeError
from ..diagnosis.forward import compute
from ..diagnosis.interpolation import resize_weights
from ..diagnosis.suspect import SuspectLayer, distance
from ..numerics import UNIT_ROUNDOFF

Array = NDArray[np.float64]
Fed = tuple[Array, ...]

TABLE = Path(__file__).with_suffix(".toml")
# In units of float32's roundoff: MXNet's GELU was off by 2 of its input, TensorFlow's resize by
# 2 of the largest value.
UNITS = 4
POSITIONS = "the positions"
ARITHMETIC = ("add", "sub", "mul", "div")
RESIZES = ("resize", "interpolate", "ResizeBilinear")
RULES = ("corners", "centres", "aligned")  # those that are computed in float32


@dataclass(frozen=True)
class Inside:
    """A matched layer that differs by float32 inside alone.

    Args:
        a: the first model's layer.
        b: the second's.
        where: in which model: `first`, `second` or `both`.
        what: what is in float32.
        rel_l2: by how much the two differ.
    """

    a: str
    b: str
    where: str
    what: str
    rel_l2: float


@dataclass(frozen=True)
class Side:
    """One of two matched layers.

    Args:
        framework: pt, tf, mx or onnx.
        name: what the table may have it under: its kind, or its function.
        layer: what it is, fed what it was given.
        seen: what it gave.
    """

    framework: str
    name: str
    layer: SuspectLayer
    seen: Array


@cache
def table() -> dict[str, dict[str, dict[str, Any]]]:
    """Return framework -> operation -> what is in float32 inside it, and how far off it was."""
    found: dict[str, Any] = tomllib.loads(TABLE.read_text())
    found.pop("versions")
    return found


def name_of(kind: str, settings: Mapping[str, Any]) -> str:
    """Return what the table has an operation under."""
    return str(settings.get("function", "relu")) if kind == "act" else kind


def may_differ(*sides: tuple[str, str]) -> bool:
    """Return whether one of the frameworks has float32 inside an operation of one of the names."""
    frameworks, names = {f for f, _ in sides}, {n for _, n in sides}
    return any(not names.isdisjoint(table().get(f, {})) for f in frameworks)


def found_inside(one: Side, other: Side) -> tuple[str, str] | None:
    """Return where and what is in float32, if that is all by which two layers differ.

    Args:
        one: the first model's layer.
        other: the second's. Its settings and weights aren't looked at.
    """
    for spec in (one, other):  # one of the two may be something else, as the last of several steps
        for rule in RULES if spec.name in RESIZES else ("",):
            found = [_version(side, spec, rule) for side in (one, other)]
            if None not in found and any(found):
                where = "both" if all(found) else "first" if found[0] else "second"
                return where, str(found[0] or found[1])
    return None


def found_in_arithmetic(one: Side, other: Side, dtypes: tuple[str, str]) -> tuple[str, str] | None:
    """Return where and what is in float32, if an addition, a product, … of one model is.

    An array that an operation made in float32 stays so until a layer casts it.

    Args:
        one: the first model's layer.
        other: the second's.
        dtypes: of what both give.
    """
    if dtypes[0] == dtypes[1] or "float32" not in dtypes or other.name not in ARITHMETIC:
        return None
    if one.seen.shape != other.seen.shape or one.seen.shape != one.layer.inputs[0].shape:
        return None
    slack = UNITS * UNIT_ROUNDOFF["float32"] * (np.abs(one.layer.inputs[0]) + np.abs(one.seen))
    if not _within(other.seen, one.seen, slack):
        return None
    return "first" if dtypes[0] == "float32" else "second", "the arithmetic"


def exact(layer: SuspectLayer, name: str, rule: str = "") -> Array:
    """Return what an operation gives without float32 inside."""
    return next(value for _, value, _ in _versions(layer, name, "", rule))


def as_resize(layer: SuspectLayer) -> SuspectLayer:
    """Return a bilinear resize with the rule that its output shows, exact; others as they are."""
    if layer.kind not in RESIZES or layer.get("rule") or layer.inputs[0].ndim != 4:
        return layer
    size, x = layer.reference.shape[2:], layer.inputs[0]
    slack = UNITS * UNIT_ROUNDOFF["float32"] * np.abs(x).max()
    for rule in RULES:
        for single in (False, True):
            y = _resized(x, size, rule, single)
            if y.shape == layer.reference.shape and _within(layer.reference, y, slack):
                plain = _resized(x, size, rule, False)
                settings = {"rule": rule, "size": size}
                return replace(layer, kind="resize", attributes=settings, reference=plain)
    return layer


def _version(side: Side, spec: Side, rule: str) -> str | None:
    """Return what is in float32 in a layer; "" if nothing is, None if it is something else."""
    layer = replace(spec.layer, inputs=side.layer.inputs, reference=side.seen)
    row = table().get(side.framework, {}).get(spec.name, {})
    try:
        with np.errstate(all="ignore"):
            for what, value, slack in _versions(layer, spec.name, str(row.get("inside", "")), rule):
                if value.shape != side.seen.shape:
                    continue
                if slack is None and distance(side.seen, value) <= LIMIT_FLOAT64:
                    return what
                whole = what not in ("a part of the operation", POSITIONS)
                if slack is None or (whole and not _fits(side.seen)):
                    continue
                if _within(side.seen, value, slack):
                    return what
    except (CannotComputeError, KeyError, ValueError, IndexError, TypeError):
        return None
    return None


def _versions(
    layer: SuspectLayer, name: str, inside: str, rule: str
) -> Iterator[tuple[str, Array, Any]]:
    """Yield what is in float32, the output, and how far each value may be from it, if at all."""
    x = layer.inputs[0]
    if rule:
        size = layer.reference.shape[2:]
        yield "", _resized(x, size, rule, False), None
        if inside == "resize":
            slack = UNITS * UNIT_ROUNDOFF["float32"] * np.abs(x).max()
            yield "the resize", _resized(x, size, rule, True), slack
        elif inside == "positions":  # of which the last of n is off by up to n / 2 units
            slack = max(x.shape[2:]) * UNIT_ROUNDOFF["float32"] * np.abs(x).max()
            yield POSITIONS, _resized(x, size, rule, True), slack
        return
    plain = _computed(layer, name, frozenset())
    yield "", plain, None
    if inside in _ROUNDINGS:
        names, rounding = _constants(layer, name), _ROUNDINGS[inside]
        for count in range(1, len(names) + 1):
            for some in itertools.combinations(names, count):
                yield _joined(some), _computed(layer, name, frozenset(some), rounding), None
    if inside == "negative":
        below = (_slope(layer, x.ndim).astype(np.float32) * x.astype(np.float32)).astype(np.float64)
        yield "the slope", np.where(x > 0, x, below), None
    if inside in ("float32", "partly"):
        scale = np.abs(x) if layer.kind == "act" else np.abs(plain).max()
        what = "the operation" if inside == "float32" else "a part of the operation"
        yield what, plain, UNITS * UNIT_ROUNDOFF["float32"] * scale


def _joined(names: tuple[str, ...]) -> str:
    return "the " + " and ".join(names)


def _fits(seen: Array) -> bool:
    """Return whether every value is a number of float32."""
    return bool((seen.astype(np.float32) == seen).all())


def _within(seen: Array, value: Array, slack: Any) -> bool:
    return bool((np.abs(seen - value) <= slack + UNITS * np.finfo(np.float32).tiny).all())


def _slope(layer: SuspectLayer, axes: int) -> Array:
    if layer.kind != "prelu":
        return np.asarray(layer.attributes.get("slope", 0.01), dtype=np.float64)
    weight = layer.weights["weight"]
    return weight.reshape(-1, *(1,) * (axes - 2)) if weight.ndim == 1 else weight


def _rounded(value: float) -> float:
    return float(np.float32(value))


def _in_few_digits(value: float) -> float:
    """Return a constant as it is printed in float32, with as few digits as tell it apart."""
    return float(str(np.float32(value)))


# Constants that are no settings.
_OWN = {
    "gelu": {"1/sqrt(2)": math.sqrt(0.5)},
    "gelu_tanh": {"sqrt(2/pi)": math.sqrt(2 / math.pi), "0.044715": 0.044715},
    "selu": {"scale": 1.0507009873554805, "alpha": 1.6732632423543772},
    "hard_swish": {"1/6": 1 / 6},
}  # fmt: skip
_ROUNDINGS: dict[str, Callable[[float], float]] = {
    "constants": _rounded, "decimals": _in_few_digits,
}  # fmt: skip
_SETTINGS = ("slope", "threshold", "low", "high", "eps", "scale", "shift")


def _constants(layer: SuspectLayer, name: str) -> tuple[str, ...]:
    """Return the names of an operation's constants."""
    if name in _OWN:
        return tuple(_OWN[name])
    given = [key for key in _SETTINGS if isinstance(layer.attributes.get(key), float)]
    return tuple(key for key in given if layer.attributes[key] != _rounded(layer.attributes[key]))


def _computed(
    layer: SuspectLayer, name: str, rounded: frozenset[str],
    rounding: Callable[[float], float] = _rounded,
) -> Array:  # fmt: skip
    """Return an operation's output, with some of its constants rounded to float32."""
    x = layer.inputs[0]
    if name in _OWN:
        at = [rounding(v) if key in rounded else v for key, v in _OWN[name].items()]
        return _FORMULAS[name](x, *at)
    changed = {key: rounding(layer.attributes[key]) for key in rounded}
    if name == "leaky_relu":
        return _leaky({**layer.attributes, **changed}, x)
    return compute(layer.but(**changed))


def _leaky(settings: Mapping[str, Any], x: Array) -> Array:
    slope, threshold = float(settings.get("slope", 0.01)), float(settings.get("threshold") or 0.0)
    y = np.where(x < threshold, slope * (x - threshold), x)
    return y if settings.get("high") is None else np.minimum(y, float(settings["high"]))


def _resized(x: Array, size: tuple[int, ...], rule: str, single: bool) -> Array:
    rows, columns = (
        resize_weights(rule, side, have, single)
        for side, have in zip(size, x.shape[2:], strict=True)
    )
    return np.asarray(rows @ x @ columns.T, dtype=np.float64)


_FORMULAS: dict[str, Any] = {
    "gelu": lambda x, c: 0.5 * x * (1 + erf(x * c)),
    "gelu_tanh": lambda x, c, k: 0.5 * x * (1 + np.tanh(c * (x + k * x**3))),
    "selu": lambda x, scale, alpha: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "hard_swish": lambda x, c: x * np.clip(x * c + 0.5, 0.0, 1.0),
}
