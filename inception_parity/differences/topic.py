"""A topic, and the answer that its experiment gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What an experiment showed in one framework, or why there is no answer.

    Args:
        default: what the framework does by default, in words, with the number.
        numbers: what was measured, by name.
        ours: what this project's own layer or optimiser does in the same experiment;
            "" if there is none.
        problem: why there is no answer: the framework is missing or the experiment failed.
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
    why: str  # why it matters
    equal: str  # how this project makes them equal
    runs: Mapping[str, Callable[[], Answer]]  # framework -> its experiment, which imports it


def listed(values: Any) -> str:
    """Return numbers as text: 2, 3, 3, 3."""
    return ", ".join(f"{float(value):.4g}" for value in values)
