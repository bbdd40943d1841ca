"""What a topic is, and what an experiment tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What an experiment showed in one framework, or why it showed nothing.

    Args:
        default: what the framework does by default, in words, with the number.
        numbers: what was measured, by name.
        ours: what this project's own part does in the same experiment; "" if none is meant.
        problem: why there is no answer: the framework is missing, or the experiment failed.
    """

    default: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    ours: str = ""
    problem: str = ""

    def more(self, text: str, **numbers: Any) -> Answer:
        """Return the answer with more words and numbers."""
        return replace(self, default=self.default + text, numbers={**self.numbers, **numbers})


@dataclass(frozen=True)
class Topic:
    """One difference."""

    name: str  # on the command line
    title: str
    experiment: str  # what is done, in a sentence
    why: str  # it matters
    equal: str  # how this project makes them equal
    runs: Mapping[str, Callable[[], Answer]]  # framework -> experiment, which imports it


def listed(values: Any) -> str:
    """Return numbers as text: 2, 3, 3, 3."""
    return ", ".join(f"{float(value):.4g}" for value in values)
