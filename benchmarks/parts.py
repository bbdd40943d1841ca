"""A benchmark's cases split over several runs or machines.

With `--part 2/8` a benchmark runs the second of eight parts: every eighth case. Each part
writes its own rows; the concatenated result files of all parts are the whole. Parts that
run at the same time may write to one file.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Case = TypeVar("Case")


def add_part(parser: argparse.ArgumentParser) -> None:
    """Add the option --part to a benchmark; the default, 1/1, is everything."""
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="I/N", help="every Nth case, from the Ith on"
    )


def part_of(cases: Iterable[Case], part: tuple[int, int]) -> Iterator[Case]:
    """Yield the cases of one part, in their order.

    Args:
        cases: all cases, in the same order in every part.
        part: (i, n), 1 <= i <= n.
    """
    i, n = part
    for number, case in enumerate(cases):
        if number % n == i - 1:
            yield case


def in_time(cases: Iterable[Case], seconds: float) -> Iterator[Case]:
    """Yield cases until so many seconds have passed."""
    end = time.monotonic() + seconds
    for case in cases:
        if time.monotonic() > end:
            return
        yield case


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a results file, in any order; none if there is no file."""
    return [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []


def append_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a results file in one write, since others may write to it too."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.parent.mkdir(exist_ok=True)
    end = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(end, text.encode())
    finally:
        os.close(end)


def _part(text: str) -> tuple[int, int]:
    """Return (i, n) of "i/n"."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"{text!r}, but should be I/N with I from 1 to N, as 2/8")
    return int(i), int(n)
