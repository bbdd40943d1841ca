"""Results on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..checking.result import CheckResult
from ..comparison.agreement import Pair
from ..comparison.comparing import UNJUDGED, Comparison, Report
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS
from ..diagnosis import Diagnosis, Finding
from ..errors import few
from ..networks import catalogue
from ..workers.request import Outcome

MOST_LINES = 8  # of a list that may be long
HEADS = ("backend", "run", "verdict", "agree", "worst rel. L2", "at", "floors", "top-1")


def show(console: Console, result: CheckResult) -> None:
    """Print the result for one network."""
    subject = result.subject
    options = " ".join(f"{k}={str(v).lower()}" for k, v in subject.options.items())
    height, width = subject.size
    console.print(Text(f"{subject.network}  {options}", style="bold"))
    console.print(
        f"weights: {subject.provenance}; images: {len(subject.image_names)} at {height}x{width} "
        f"({few(list(subject.image_names))})",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_table(result.reports, result.outcomes))
    for pair in result.pairs:
        console.print(_pair_line(pair), style="dim", highlight=False)
    show_failures(console, result)
    console.print(verdict(result))


def show_failures(console: Console, result: CheckResult) -> None:
    """Print what doesn't agree and what didn't run, and why."""
    for report in result.reports:
        if report.fails:
            found = result.diagnoses.get(report.cell)
            console.print(failure(report, found), highlight=False)
    for note in notes(result):
        console.print(Text(note, style="yellow"), soft_wrap=True)


def notes(result: CheckResult) -> list[str]:
    """Return what didn't run and why, and whether it may be the oracle that is wrong."""
    found = []
    for name, outcome in result.outcomes.items():
        if outcome.status != "ok":
            found.append(f"{name}  {outcome.status}: {outcome.message}")
        found += [f"{name}  {dtype}: not run; {why}" for dtype, why in outcome.unsupported.items()]
    if result.oracle_suspect:
        found.append(
            f"The backends agree with each other, against the oracle, at "
            f"{result.oracle_suspect}: the mistake is in the oracle, or in all of them."
        )
    return found


def show_matrix(console: Console, results: Sequence[CheckResult]) -> None:
    """Print one table for many checks: networks and options by backends."""
    backends = results[0].settings.backends
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("network", no_wrap=True)
    table.add_column("options")
    for backend in backends:
        table.add_column(catalogue.BACKENDS[backend].title, no_wrap=True)
    table.add_column("seconds", justify="right")
    for result in results:
        subject = result.subject
        defaults = catalogue.network(subject.network).resolve({})
        chosen = {k: v for k, v in subject.options.items() if v != defaults[k]}
        table.add_row(
            subject.network,
            " ".join(f"{k}={str(v).lower()}" for k, v in chosen.items()) or "–",
            *(_cell(result, backend) for backend in backends),
            f"{result.seconds:.0f}",
        )
    console.print(table)
    agreeing = sum(result.exit_code == 0 for result in results)
    style = "bold green" if agreeing == len(results) else "bold red"
    console.print(Text(f"{agreeing} of {len(results)} checks agree.", style=style))


def _cell(result: CheckResult, backend: str) -> Text:
    """Sum up a backend in a few characters: float64's error, the others' floors."""
    outcome = result.outcomes[backend]
    if outcome.status != "ok":
        return Text(outcome.status, style="bold yellow")
    reports = [r for r in result.reports if r.backend == backend]
    failing = next((r for r in reports if r.fails), None)
    if failing is not None:
        where = "loader" if failing.first is None else failing.first.name
        return Text(f"{failing.verdict} at {where}", style="bold red")
    worst = [r.worst.rel_l2 or 0.0 for r in reports if r.worst and r.dtype == "float64"]
    most = [e.floors for r in reports for e in r.endpoints if e.floors is not None]
    words = [f"{max(worst):.0e}"] if worst else []
    words += [f"{max(most):.1f} floors"] if most else []
    return Text(", ".join(words), style="green")


def show_report(console: Console, report: Report, diagnosis: Diagnosis | None = None) -> None:
    """Print one comparison, and the cause, if it was looked for."""
    console.print(_table([report]))
    if report.fails:
        console.print(failure(report, diagnosis), highlight=False)


def _table(reports: Sequence[Report], outcomes: Mapping[str, Outcome] | None = None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in HEADS:
        table.add_column(name, no_wrap=True)
    for report in reports:
        title, run, verdict, *others = row(report)
        table.add_row(title, run, Text(verdict, style=_style(report)), *others)
    for name, outcome in (outcomes or {}).items():
        if outcome.status != "ok":
            title = catalogue.BACKENDS[name].title
            table.add_row(title, "", Text(outcome.status, style="bold yellow"))
    return table


def row(report: Report) -> tuple[str, ...]:
    """Return a comparison as the cells of a table; HEADS are its columns."""
    worst, top1 = report.worst, report.top1
    most = max((e.floors for e in report.endpoints if e.floors is not None), default=None)
    agree = sum(not e.fails for e in report.endpoints)
    return (
        catalogue.BACKENDS[report.backend].title,
        report.dtype + (" isolated" if report.mode == "isolated" else ""),
        report.verdict,
        f"{agree}/{len(report.endpoints)}",
        f"{worst.rel_l2:.1e}" if worst else "–",
        worst.name if worst else "–",
        "–" if most is None else f"{most:.1f}" if most < 1e4 else f"{most:.1e}",
        f"{top1[0]}/{top1[1]}" if top1 else "–",
    )


def _style(report: Report) -> str:
    return "bold red" if report.fails else "dim" if report.verdict == UNJUDGED else "green"


def failure(report: Report, diagnosis: Diagnosis | None = None) -> Text:
    """Return where a run begins to differ, the tolerance that would pass it, and the cause."""
    text = Text()
    text.append(f"{report.backend} {report.dtype} {report.mode}  ")
    text.append("FAIL", style="bold red")
    if report.loader:
        lines = [*report.loader[:MOST_LINES]]
        if len(report.loader) > MOST_LINES:
            lines.append(f"… and {len(report.loader) - MOST_LINES} more")
        text.append("   loader: the network doesn't hold the weights that it was given")
        text.append("".join(f"\n    {line}" for line in lines))
    first = report.first
    if first is None:
        return text
    text.append(f"\n    first: {first.name} ({first.kind})   {numbers(first, report.dtype)}")
    failing = [e.name for e in report.endpoints if e.fails]
    before = [e.name for e in report.endpoints].index(first.name)
    s = "endpoint before it agrees" if before == 1 else "endpoints before it agree"
    text.append(f"\n    {before} {s}; ")
    others = [e.name for e in report.guilty[1:]]
    text.append(f"{len(failing) - 1 - len(others)} others inherit an error")
    if others:
        text.append(f"\n    also wrong in themselves: {few(others)}")
    tolerance = report.tolerance
    text.append(
        f"\n    smallest relative L2 tolerance that would pass: {tolerance:.1e}"
        if tolerance is not None
        else "\n    no tolerance would let it pass"
    )
    if diagnosis is not None:
        text.append("\n").append(cause(diagnosis))
    return text


def cause(diagnosis: Diagnosis) -> Text:
    """Return the cause, the evidence for it, and the line that fixes it."""
    text, found = Text(), diagnosis.cause
    singles, pairs = diagnosis.tried
    tried = f"{singles} explanations" + (f" and {pairs} pairs of them" if pairs else "")
    if found is None:
        text.append("    cause: ").append("unexplained", style="bold yellow")
        text.append(f"; {tried} tried at {diagnosis.endpoint}; {diagnosis.note}")
        if diagnosis.closest is not None:
            text.append(f"\n    closest: {_evidence(diagnosis.closest)}")
        return text
    text.append("    cause: ").append(found.text, style="bold")
    text.append(f"\n           {_evidence(found, short=True)}; {tried} tried")
    if found.evidence:
        text.append(f"; {found.evidence}")
    if diagnosis.also:
        text.append(f"\n           the same at {few(diagnosis.also)}")
    text.append(f"\n    fix:   {found.fix}")
    rivals = [f for f in diagnosis.findings[1:] if f.cost == found.cost]
    if rivals:
        text.append("\n    or:    " + "; or: ".join(f.text for f in rivals[:2]))
    return text


def _evidence(found: Finding, short: bool = False) -> str:
    before = "no number" if found.before is None else f"{found.before:.1e}"
    said = f"difference {before} before, {found.after:.1e} with this mistake in the oracle's layer"
    return said if short else f"{found.text}: {said}"


def numbers(endpoint: Comparison, dtype: str) -> str:
    """Return an endpoint's difference and the limit that it is judged by."""
    if dtype == "float64":
        return endpoint.numbers(f"limit {LIMIT_FLOAT64:.0e}")
    floor = "" if endpoint.floor is None else f"floor {endpoint.floor:.1e}: "
    return endpoint.numbers(f"{floor}{endpoint.floors or 0:.3g} floors, limit {LIMIT_FLOORS:g}")


def _pair_line(pair: Pair) -> str:
    line = f"{pair.first} and {pair.second}, {pair.dtype}: "
    line += f"{pair.identical} of {pair.endpoints} endpoints bit-identical, logits "
    if pair.ulp == 0:
        return line + "bit-identical"
    if pair.ulp is None or pair.cosine is None:
        return line + "can't be compared"
    sqnr = f", SQNR {pair.sqnr:.0f} dB" if pair.sqnr is not None else ""
    return (
        f"{line}{pair.ulp:.3g} ULP apart, 1 - cosine {max(0.0, 1 - pair.cosine):.0e}{sqnr}, "
        f"top-1 {pair.top1[0]}/{pair.top1[1]}"
    )


def verdict(result: CheckResult) -> Text:
    """Return, in a sentence, who agrees with the oracle and who doesn't."""
    asked = len(result.settings.backends)
    broken = [name for name, outcome in result.outcomes.items() if outcome.status != "ok"]
    failing = list(dict.fromkeys(r.backend for r in result.reports if r.fails))
    compared = {r.backend for r in result.reports}
    idle = [b for b in result.settings.backends if b not in broken and b not in compared]
    clean = [b for b in result.settings.backends if b in compared and b not in broken + failing]
    if not broken and not failing and not idle:
        who = "The backend agrees" if asked == 1 else f"All {asked} backends agree"
        return Text(f"{who} with the oracle. ({result.seconds:.1f} s)", style="bold green")
    parts = []
    if failing:
        parts.append(f"{', '.join(failing)} diverge{'s' if len(failing) == 1 else ''}")
    if broken:
        parts.append(f"{', '.join(broken)} didn't finish")
    if idle:
        parts.append(f"{', '.join(idle)} had nothing to run")
    if clean:
        parts.append(f"{', '.join(clean)} agree{'s' if len(clean) == 1 else ''}")
    style = "bold green" if clean and not failing and not broken else "bold red"
    return Text(f"{'; '.join(parts)}. ({result.seconds:.1f} s)", style=style)
