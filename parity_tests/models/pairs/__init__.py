"""Pairs of small models, each an original, a right port of it and ports with a known mistake.

Each module has a table `PAIRS`. Quick tests take some of them, `benchmarks.model_pairs` all.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from .pair import Fault, Outcome, Pair, compared, judged

FAMILIES = ("recurrences", "norms", "activations", "attentions", "rearrangements", "resizes")

__all__ = ["FAMILIES", "Fault", "Outcome", "Pair", "all_pairs", "compared", "judged"]


def all_pairs() -> Iterator[Pair]:
    """Yield the pairs of all families."""
    for family in FAMILIES:
        yield from import_module(f".{family}", __package__).PAIRS
