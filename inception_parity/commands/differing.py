"""What the frameworks do differently, shown by doing it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer
from rich.text import Text

from .. import differences, errors
from ..differences import pages
from ..errors import InputError
from ..networks import catalogue
from . import out, plain_table, print_json, print_line, progress
from .arguments import parse_backends, require_timeout
from .option_groups import command


@command("differences")
def differences_command(
    topic: str | None = None,
    backends: str = "pt,tf,mx",
    write: Path | None = None,
    timeout: float = 300,
    as_json: bool = False,
) -> None:
    """Show what the frameworks do differently, by small experiments in those installed.

    Each topic shows what the frameworks do by default, in numbers, why it matters, and how
    this project makes them equal. Exit code 3: no experiment could be run.

    Example:

        inception-parity differences --backends pt,tf
    """
    chosen = parse_backends(backends, "the experiments run in pt, tf and mx")
    if write is not None and (topic is not None or set(chosen) != set(differences.FRAMEWORKS)):
        raise InputError(
            "--write needs all topics and all frameworks: leave out TOPIC and --backends"
        )
    require_timeout(timeout)
    names = list(differences.TOPICS) if topic is None else [differences.find_topic(topic).name]
    with progress() as say:
        cells, versions = differences.run(names, chosen, timeout, say)
    if as_json:
        print_json({"versions": versions, "topics": _listed(cells)})
    elif topic is None:
        _show_all(cells)
    else:
        _show(differences.find_topic(topic), cells[topic])
    if write is not None:
        for problem in {c.problem for row in cells.values() for c in row.values() if c.problem}:
            raise InputError(f"nothing was written because an experiment is missing: {problem}")
        written = pages.write(write, cells, versions)
        print_line(f"{write}: {len(written)} pages")
    done = any(cell.default for row in cells.values() for cell in row.values())
    raise typer.Exit(errors.AGREE if done else errors.BROKEN)


def _listed(cells: dict[str, dict[str, differences.Answer]]) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "title": differences.TOPICS[name].title,
            "experiment": differences.TOPICS[name].experiment,
            "frameworks": {framework: asdict(cell) for framework, cell in row.items()},
        }
        for name, row in cells.items()
    ]


def _text(cell: differences.Answer) -> Text:
    return Text(cell.default) if cell.default else Text(cell.problem, style="yellow")


def _missing(cells: dict[str, dict[str, differences.Answer]]) -> dict[str, str]:
    """Return the frameworks without a single answer, and why, where one reason covers it."""
    found = {}
    for framework in next(iter(cells.values())):
        answers = [row[framework] for row in cells.values()]
        reasons = {answer.problem for answer in answers}
        if len(reasons) == 1 and not any(answer.default for answer in answers):
            found[framework] = reasons.pop()
    return found


def _show_all(cells: dict[str, dict[str, differences.Answer]]) -> None:
    missing = _missing(cells)
    frameworks = [name for name in next(iter(cells.values())) if name not in missing]
    table = plain_table()
    table.padding = (0, 2, 1, 0)
    table.add_column("topic", no_wrap=True)
    for framework in frameworks:
        table.add_column(catalogue.BACKENDS[framework].title)
    for name, row in cells.items():
        table.add_row(Text(name, style="bold"), *(_text(row[f]) for f in frameworks))
    out.print(table)
    for framework, reason in missing.items():
        line = f"{catalogue.BACKENDS[framework].title}: no experiment was run; {reason}"
        out.print(Text(line, style="yellow"), soft_wrap=True)
    out.print("For one of them, with reasons: inception-parity differences TOPIC", style="dim")


def _show(topic: differences.Topic, row: dict[str, differences.Answer]) -> None:
    out.print(Text(topic.title, style="bold"))
    out.print(Text(topic.experiment))
    table = plain_table("", "by default")
    ours = any(cell.ours for cell in row.values())
    if ours:
        table.add_column("with ours")
    for framework, cell in row.items():
        shown = [Text(catalogue.BACKENDS[framework].title), _text(cell)]
        table.add_row(*shown, *([Text(cell.ours)] if ours else []))
    out.print(table)
    for title, text in (("Why it matters: ", topic.why), ("Made equal: ", topic.equal)):
        out.print(Text(title, style="bold").append(text, style="not bold"))
