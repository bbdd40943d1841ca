"""What a topic is, and what an experiment tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seen:
    """What an experiment showed.

    Args:
        default: what the framework does by default, in words, with the number.
        numbers: what was measured, by name.
        ours: what this project's own part does in the same experiment; "" if none is meant.
    """

    default: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    ours: str = ""


@dataclass(frozen=True)
class Answer(Seen):
    """A framework's answer, as it comes back from its process."""

    default: str = ""
    problem: str = ""  # why there is no answer: the framework is missing, or the experiment failed


@dataclass(frozen=True)
class Topic:
    """One difference."""

    name: str  # on the command line
    title: str
    experiment: str  # what is done, in a sentence
    why: str  # it matters
    equal: str  # how this project makes them equal
    runs: Mapping[str, Callable[[], Seen]]  # framework -> experiment, which imports it


def listed(values: Any) -> str:
    """Return numbers as text: 2, 3, 3, 3."""
    return ", ".join(f"{float(value):.4g}" for value in values)
