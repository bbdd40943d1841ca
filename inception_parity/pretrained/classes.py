"""Names of classes."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageNetClass:
    """One of ImageNet's classes: its WordNet identifier, and synonyms, the commonest first."""

    wordnet: str
    synonyms: tuple[str, ...]


@functools.cache
def imagenet() -> tuple[ImageNetClass, ...]:
    """Return ImageNet's 1000 classes, in the order of a network's logits."""
    text = Path(__file__).with_name("imagenet.txt").read_text(encoding="utf-8")
    rows = [line.split(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return tuple(ImageNetClass(number, tuple(names.split(", "))) for number, names in rows)


@functools.cache
def imagenet_names() -> tuple[str, ...]:
    """Return a name for each of ImageNet's classes: its first synonym.

    Where that is another class' as well, it is the next one, or the identifier follows.
    """
    count = Counter(found.synonyms[0] for found in imagenet())
    return tuple(
        next((n for n in found.synonyms if count[n] < 2), f"{found.synonyms[0]} {found.wordnet}")
        for found in imagenet()
    )


def names_of(classes: str, count: int) -> Sequence[str]:
    """Return the names of a network's classes.

    Args:
        classes: whose names they are; empty if they have none.
        count: length of the logits; 1001 means a background class before ImageNet's.
    """
    if classes == "imagenet" and count in (1000, 1001):
        return (*(["background"] * (count - 1000)), *imagenet_names())
    return tuple(f"class {number}" for number in range(count))
