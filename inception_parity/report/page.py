"""One HTML page for any number of comparisons: a single file that loads nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..checking.result import CheckResult
from ..comparison.comparing import UNJUDGED, Report
from ..diagnosis import Diagnosis
from ..errors import few
from ..files import write_whole
from ..networks import catalogue
from ..traces.trace import Trace
from ..versions import __version__
from . import terminal
from .sheet import Column, Sheet, findings, sheet_data

FOLDER = Path(__file__).parent / "page"
PROGRAMS = ("core.js", "graph.js", "chart.js", "panel.js", "main.js")
STATES = {0: "agree", 1: "diverge", 3: "broken"}  # by exit code
SIGNS = {"agree": "✓", "diverge": "✗", "broken": "!"}


def write(file: Path, sheets: Sequence[Sheet]) -> None:
    """Write the page, whole or not at all.

    Raises:
        InputError: it can't be written there.
    """
    write_whole(file, render(sheets).encode())


def render(sheets: Sequence[Sheet]) -> str:
    """Return the page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    agreeing = sum(sheet.state == "agree" for sheet in sheets)
    worst = next((s for s in ("broken", "diverge") if any(x.state == s for x in sheets)), "agree")
    one = len(sheets) == 1
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        headline=sheets[0].verdict if one else f"{agreeing} of {len(sheets)} checks agree",
        state=worst,
        signs=SIGNS,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sheets=sheets,
        heads=terminal.HEADS,
        rows=[[_row(column) for column in sheet.columns] for sheet in sheets],
        cards=[_cards(sheet) for sheet in sheets],
        payloads=[Markup(_embed({**s.data, "reference": s.reference})) for s in sheets],
        style=Markup((FOLDER / "page.css").read_text()),
        program=Markup("\n".join((FOLDER / name).read_text() for name in PROGRAMS)),
    )


def _embed(value: Any) -> str:
    """Return JSON that can stand in a script element, whatever it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row(column: Column) -> dict[str, Any]:
    _, *cells = terminal.row(column.report)
    report = column.report
    state = "fails" if report.fails else "" if report.verdict == UNJUDGED else "agrees"
    return {"state": state, "cells": [column.title, *cells]}


def _cards(sheet: Sheet) -> list[dict[str, Any]]:
    """Return the cards on top of the page: where each backend's error starts, over all its runs."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for column in sheet.columns:
        report, first = column.report, column.report.first
        if not report.fails:
            continue
        name = first.name if first else ""
        card = found.setdefault(
            (column.title, name),
            {"title": column.title, "first": name, "lines": [], "findings": [],
             "go": _go(sheet, column, name)},
        )  # fmt: skip
        run = report.dtype + (" isolated" if report.mode == "isolated" else "")
        if report.loader:
            lost = few(report.loader)
            card["lines"].append((run, f"doesn't hold the weights that it was given: {lost}"))
        if first is not None:
            card["lines"].append((run, terminal.numbers(first, report.dtype)))
        here = [f for f in findings(column.diagnosis) if f["endpoint"] == name]
        card["findings"] = card["findings"] or here[:1]
    return list(found.values())


def _go(sheet: Sheet, column: Column, name: str) -> str:
    """Return which endpoint of which run a link leads to, for the page's program."""
    names = [node[0] for node in sheet.data["nodes"]]
    if name not in names:
        return ""
    return json.dumps(
        {
            "column": sheet.data["titles"].index(column.title),
            "dtype": column.report.dtype,
            "mode": column.report.mode,
            "node": names.index(name),
        }
    )


def of_check(
    result: CheckResult,
    oracle: Trace,
    traces: Mapping[tuple[str, str, str], Trace],
    command: Sequence[str],
    every_picture: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Sheet:
    """Return the sheet of a check, whose traces must still exist.

    Args:
        result: the check's result.
        oracle: the oracle's trace.
        traces: (backend, dtype, mode) -> trace.
        command: the words of the command that repeats it.
        every_picture: whether to draw endpoints that agree as well.
        progress: called with a line that says what is being done.
    """
    subject = result.subject
    height, width = subject.size
    images = f"{len(subject.image_names)} at {height}x{width}: {', '.join(subject.image_names)}"
    options = " ".join(f"{k}={str(v).lower()}" for k, v in subject.options.items())
    columns = [
        Column(
            catalogue.BACKENDS[r.backend].title, r, traces.get(r.cell), result.diagnoses.get(r.cell)
        )
        for r in result.reports
    ]
    return Sheet(
        title=f"{subject.network} {height}x{width}",
        verdict=terminal.verdict(result).plain,
        state=STATES[result.exit_code],
        reference=catalogue.BACKENDS[catalogue.ORACLE].title,
        facts=[
            ("network", subject.network),
            ("options", options),
            ("weights", f"{subject.provenance}; sha256 {subject.sha256}"),
            ("images", images),
            ("device", result.settings.device),
        ],
        notes=terminal.notes(result),
        environment=_environment(result, oracle),
        command=shlex.join(command),
        columns=columns,
        data=sheet_data(oracle, columns, every_picture, progress),
    )


def of_traces(
    report: Report,
    trace: Trace,
    reference: Trace,
    command: Sequence[str],
    diagnosis: Diagnosis | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Sheet:
    """Return the sheet of two traces that were kept.

    Args:
        report: their comparison.
        trace: what was judged.
        reference: what it was compared with.
        command: the words of the command that repeats it.
        diagnosis: the cause, if it was looked for.
        progress: called with a line that says what is being done.
    """
    ours, theirs = trace.run, reference.run
    name, other = (f"{catalogue.BACKENDS[run.backend].title} {run.dtype}" for run in (ours, theirs))
    said = "diverges from" if report.fails else "agrees with"
    if report.verdict == UNJUDGED:
        said = "can't be judged against"
    columns = [Column(catalogue.BACKENDS[ours.backend].title, report, trace, diagnosis)]
    options = " ".join(f"{k}={str(v).lower()}" for k, v in ours.options.items())
    return Sheet(
        title=f"{ours.network}, two traces",
        verdict=f"{name} {said} {other}.",
        state=STATES[int(report.fails)],
        reference=other,
        facts=[
            ("network", ours.network),
            ("options", options),
            ("weights", f"sha256 {ours.weights}"),
            ("images", f"sha256 {ours.images}"),
            ("traces", f"{trace.folder}, {reference.folder}"),
        ],
        notes=[],
        environment=[(name, dict(trace.versions)), (other, dict(reference.versions))],
        command=shlex.join(command),
        columns=columns,
        data=sheet_data(reference, columns, progress=progress),
    )


def _environment(result: CheckResult, oracle: Trace) -> list[tuple[str, dict[str, str]]]:
    found = [(catalogue.BACKENDS[catalogue.ORACLE].title, dict(oracle.versions))]
    for backend, outcome in result.outcomes.items():
        versions = next((r.versions for r in result.reports if r.backend == backend), {})
        used = {"time": f"{outcome.seconds:.1f} s"} if outcome.seconds else {}
        used |= {"memory": f"{outcome.peak_memory / 2**20:.0f} MiB"} if outcome.peak_memory else {}
        found.append((catalogue.BACKENDS[backend].title, {**versions, **used}))
    return found
