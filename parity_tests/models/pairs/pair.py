"""What a pair of models is, and what `compare` makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inception_parity.models import ModelReport, compare

from ...support.small_models import older_interface

Model = Callable[[], Any]


@dataclass(frozen=True)
class Fault:
    """A port with one mistake.

    Args:
        name: what the mistake is.
        model: makes the port.
        place: the original's layer at which it shows first.
        cause: the short name of the cause that should be named first.
    """

    name: str
    model: Model
    place: str
    cause: str


@dataclass(frozen=True)
class Pair:
    """An original, a right port and faulty ones.

    Args:
        name: what it is about.
        frameworks: the original's and the port's, as `pt-tf`.
        original: makes the original.
        port: makes the right port.
        inputs: returns what both are fed.
        faults: the faulty ports.
        options: more arguments of `compare`.
    """

    name: str
    frameworks: str
    original: Model
    port: Model
    inputs: Callable[[], Any]
    faults: tuple[Fault, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.frameworks}"


@dataclass(frozen=True)
class Outcome:
    """What was said of one port.

    Args:
        pair: the pair's name.
        port: the fault's name; empty for the right port.
        fails: whether the port was called different.
        place: the first layer named.
        causes: the first cause named, of two mistakes both.
        text: all that was printed.
    """

    pair: str
    port: str
    fails: bool
    place: str
    causes: tuple[str, ...]
    text: str


def compared(pair: Pair, port: Model, **options: Any) -> ModelReport:
    """Return what `compare` says of a port, with MXNet's older interface if it is Gluon's."""
    with contextlib.ExitStack() as stack:
        if "mx" in pair.frameworks:
            stack.enter_context(older_interface())
        return compare(pair.original(), port(), pair.inputs(), **{**pair.options, **options})


def judged(pair: Pair, fault: Fault | None = None) -> Outcome:
    """Return what `compare` says of the right port, or of a faulty one."""
    made = compared(pair, pair.port if fault is None else fault.model)
    first = "" if made.first is None else made.first.name
    found = made.diagnoses.get(first)
    causes = () if found is None or found.cause is None else found.cause.cause.split(" + ")
    name = "" if fault is None else fault.name
    return Outcome(str(pair), name, made.fails, first, tuple(causes), made.text())


def normal(*shape: int, seed: int = 0) -> Callable[[], Any]:
    """Return what makes normally distributed numbers, the same each time."""
    return lambda: np.random.default_rng(seed).standard_normal(shape)
