"""What the page shows of one comparison, as plain data: graph, numbers, pictures.

A sheet consists of a reference trace, whose record has the graph, and of columns: reports with
their traces, of any network or model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..comparison.comparing import (
    IDENTICAL,
    ROUNDING,
    SUSPICIOUS,
    UNJUDGED,
    WRONG,
    Comparison,
    Report,
)
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS
from ..diagnosis import Diagnosis, Finding
from ..traces.trace import Trace
from .pictures import MapPool, Means, picture

VERDICTS = (IDENTICAL, ROUNDING, UNJUDGED, SUSPICIOUS, WRONG)
MOST_FULL = 48  # endpoints with large pictures; those where an error starts come first
LARGEST = 1e300  # stands for infinity, which JSON lacks


@dataclass(frozen=True)
class Column:
    """One run that is compared with the reference."""

    title: str  # names what ran; runs with the same title share a column
    report: Report
    trace: Trace | None = None  # without it there are numbers, but no pictures
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Sheet:
    """One comparison on the page."""

    title: str
    verdict: str
    state: str  # agree, diverge or broken
    reference: str  # what everything is compared with, in words
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]  # what didn't run, and why
    environment: Sequence[tuple[str, Mapping[str, str]]]  # of each backend, name -> text
    command: str  # that repeats it
    columns: Sequence[Column] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)  # for the page's program


def sheet_data(
    reference: Trace,
    columns: Sequence[Column],
    every_picture: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Return graph, numbers and pictures.

    Args:
        reference: what all columns were compared with; its record has the graph.
        columns: the runs.
        every_picture: whether to draw endpoints that agree as well; they take most of the page.
        progress: called with a line that says what is being done.
    """
    endpoints = dict(reference.endpoints)
    for column in columns:
        if column.trace is not None:
            surplus = {k: v for k, v in column.trace.endpoints.items() if k not in endpoints}
            endpoints |= surplus
    drawer = _Drawer(reference, list(endpoints), _large(columns), every_picture)
    titles = list(dict.fromkeys(column.title for column in columns))
    runs = []
    for index, column in enumerate(columns):
        progress(f"drawing {index + 1}/{len(columns)}")
        run = drawer.run(index, column)
        runs.append({"column": titles.index(column.title), **run})
    number = drawer.number
    return {
        "titles": titles,
        "limits": {"float64": LIMIT_FLOAT64, "floors": LIMIT_FLOORS},
        "verdicts": VERDICTS,
        "nodes": [
            [name, e.kind, int(e.leaf), list(e.shape), [number[i] for i in e.inputs if i in number]]
            for name, e in endpoints.items()
        ],
        "runs": runs,
        "pictures": drawer.pictures,
        "maps": drawer.pool.maps,
        "counts": drawer.pool.counts,
    }


def findings(found: Diagnosis | None) -> list[dict[str, str]]:
    """Return the explanations of a difference, best first: endpoint, cause, evidence, fix."""
    if found is None:
        return []
    if found.cause is None:
        tried = f"{sum(found.tried)} explanations were tried. {found.note}".strip()
        told = [{"endpoint": found.endpoint, "cause": "unexplained", "evidence": tried, "fix": ""}]
        return told + ([_finding(found.endpoint, found.closest)] if found.closest else [])
    best = [_finding(found.endpoint, f) for f in found.findings if f.cost == found.cause.cost]
    return best + [_finding(endpoint, found.cause) for endpoint in found.also]


def _finding(endpoint: str, found: Finding) -> dict[str, str]:
    before = "no number" if found.before is None else f"{found.before:.1e}"
    effect = f"Difference {before}; to the reference with this mistake {found.after:.1e}."
    return {
        "endpoint": endpoint,
        "cause": found.text,
        "evidence": f"{effect} {found.evidence}".strip(),
        "fix": found.fix,
    }


def _large(columns: Sequence[Column]) -> set[tuple[int, str]]:
    """Return the (column, endpoint) that get large pictures."""
    failing = [
        (not e.guilty, place, index, e.name)
        for index, column in enumerate(columns)
        for place, e in enumerate(column.report.endpoints)
        if e.fails
    ]
    return {(index, name) for _, _, index, name in sorted(failing)[:MOST_FULL]}


class _Drawer:
    """Turns columns into numbers and pictures, with one pool of maps."""

    def __init__(
        self,
        reference: Trace,
        names: Sequence[str],
        large: set[tuple[int, str]],
        every_picture: bool,
    ) -> None:
        self.reference = reference
        self.number = {name: index for index, name in enumerate(names)}
        self.large = large
        self.every_picture = every_picture
        self.pool = MapPool()
        self.pictures: list[dict[str, Any]] = []
        # The reference's arrays by file, opened once, with the means that all runs share.
        self.references: dict[str, tuple[NDArray[Any], Means]] = {}

    def run(self, index: int, column: Column) -> dict[str, Any]:
        report = column.report
        shown = [e for e in report.endpoints if e.name in self.number]
        drawn: dict[tuple[str, str], int] = {}  # a block is its last layer's output
        pictures = {}
        for endpoint in shown:
            full = (index, endpoint.name) in self.large
            if column.trace is None or not (full or endpoint.fails or self.every_picture):
                continue
            found = column.trace.endpoints.get(endpoint.name)
            expected = self.reference.endpoints.get(endpoint.name)
            if found is None or expected is None:
                continue
            key = (found.file, expected.file)
            if full or key not in drawn:
                if expected.file not in self.references:
                    self.references[expected.file] = self.reference.array(endpoint.name), {}
                theirs, means = self.references[expected.file]
                ours = column.trace.array(endpoint.name)
                drawn[key] = len(self.pictures)
                self.pictures.append(picture(self.pool, endpoint, ours, theirs, full, means))
            pictures[self.number[endpoint.name]] = drawn[key]
        return {
            "dtype": report.dtype,
            "mode": report.mode,
            "verdict": report.verdict,
            "fails": report.fails,
            "loader": report.loader,
            "points": {self.number[e.name]: _point(e) for e in shown},
            "pictures": pictures,
            "findings": [
                {**finding, "endpoint": self.number[finding["endpoint"]]}
                for finding in findings(column.diagnosis)
                if finding["endpoint"] in self.number
            ],
        }


def _point(e: Comparison) -> list[Any]:
    """Return an endpoint's numbers; the page's program knows them by position."""
    apart = None if e.cosine is None else max(0.0, 1 - e.cosine)  # rounding aside
    numbers = (e.rel_l2, e.floor, e.floors, e.max_abs, e.ulp, apart, e.sqnr)
    return [
        VERDICTS.index(e.verdict),
        int(e.guilty),
        *(None if number is None else _short(number) for number in numbers),
        list(e.worst),
        e.problem,
    ]


def _short(number: float) -> float:
    return float(f"{number:.4g}") if math.isfinite(number) else LARGEST
