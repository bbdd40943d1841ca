"""A benchmark's cases split over several runs or machines.

With `--part 2/8` a benchmark does the second of eight parts: every eighth case. Each part
writes its own rows; the files of results of all parts, one after the other, are the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TypeVar

Case = TypeVar("Case")


def add_part(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option --part, 1/1 unless told: everything."""
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="I/N", help="every Nth case, from the Ith on"
    )


def part_of(cases: Iterable[Case], part: tuple[int, int]) -> Iterator[Case]:
    """Yield the cases of one part, in their order.

    Args:
        cases: all of them, in the same order in every part.
        part: (i, n), 1 <= i <= n.
    """
    i, n = part
    for number, case in enumerate(cases):
        if number % n == i - 1:
            yield case


def _part(text: str) -> tuple[int, int]:
    """Return (i, n) of "i/n"."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"{text!r}, but should be I/N with I from 1 to N, as 2/8")
    return int(i), int(n)
