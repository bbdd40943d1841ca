"""Topics: what one is, how its texts are read, and how experiments are registered for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..networks import catalogue
from .kit import Kit

FRAMEWORKS = tuple(
    name for name, info in catalogue.BACKENDS.items() if info.package and name != catalogue.ORACLE
)
FOLDER = Path(__file__).parent / "topics"
LAYOUT = re.compile(
    "# (.+)\n\n(.+)\n\n## Why it matters\n\n(.+)\n\n## How this project makes them equal\n\n(.+)\n",
    re.DOTALL,
)


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


Experiment = Callable[[Kit], Answer]


@dataclass(frozen=True)
class Topic:
    """One difference."""

    name: str  # on the command line
    title: str
    experiment: str  # what is done, in a sentence
    why: str  # why it matters
    equal: str  # how this project makes them equal
    runs: dict[str, Experiment] = field(default_factory=dict)  # by framework


class Topics(dict[str, Topic]):
    """Topics by name, in the order in which their experiments are defined."""

    def experiment(self, name: str, *frameworks: str) -> Callable[[Experiment], Experiment]:
        """Make the decorated function the experiment of a topic, whose texts are in `topics/`.

        Args:
            name: the topic.
            frameworks: those that the function is for; by default all.
        """

        def register(run: Experiment) -> Experiment:
            if name not in self:
                self[name] = read_topic(name)
            self[name].runs.update(dict.fromkeys(frameworks or FRAMEWORKS, run))
            return run

        return register


def read_topic(name: str) -> Topic:
    """Return the texts of a topic, still without experiments."""
    file = FOLDER / f"{name}.md"
    found = LAYOUT.fullmatch(file.read_text())
    if found is None:
        raise ValueError(f"{file}: should have a title, a text and the two sections of the others")
    title, done, why, equal = (" ".join(text.split()) for text in found.groups())
    return Topic(name, title, done, why, equal)


def listed(values: Any) -> str:
    """Return numbers as text: 2, 3, 3, 3."""
    return ", ".join(f"{float(value):.4g}" for value in values)
