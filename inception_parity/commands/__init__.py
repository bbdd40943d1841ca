"""The commands, a file for each or for a few that belong together, and what all of them use."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import files
from ..report import record

app = typer.Typer(
    help="Run the same Inception network in several frameworks, and prove that they agree.\n\n"
    "Exit codes: 0, everything asked for ran and agrees; 1, something diverges; 2, bad usage or "
    "input; 3, a backend is missing or failed, or nothing could be judged; 130, interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# Tables are wide where there is no terminal to fit them into. Texts are printed as they are.
_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
out = Console(width=None if sys.stdout.isatty() else 120, **_PLAIN)
err = Console(stderr=True, soft_wrap=True, **_PLAIN)


def print_line(text: str | Text, style: str = "") -> None:
    """Print one line, which isn't wrapped."""
    out.print(text, style=style, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(record.dumps(value), end="")


def write_json(file: Path | None, value: object) -> None:
    """Write a value as JSON into a file, if there is one."""
    if file is not None:
        files.write_whole(file, record.dumps(value).encode())


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table without lines; the columns in `right` are aligned on that side."""
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for column in right:
        table.add_column(column, justify="right")
    return table


def stop(reason: object, code: int) -> NoReturn:
    """Say on stderr why there is no result, and end the command with `code`."""
    err.print(Text(str(reason), style="yellow"))
    raise typer.Exit(code)


@contextlib.contextmanager
def progress(title: str = "") -> Iterator[Callable[[str], None]]:
    """Show a line that changes; without a terminal, the title alone."""
    if err.is_terminal:
        with err.status(f"{title}starting") as status:
            yield lambda text: status.update(f"{title}{text}")
    else:
        if title:
            err.print(title.rstrip())
        yield lambda text: None
