"""The commands, and what they share: the application, the consoles, the options."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="Run the same Inception network in several frameworks, and prove that they agree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# Where there is no terminal to fit, tables are wide. Names of files come as they are.
out = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)

NetworkName = Annotated[str, typer.Argument(help="A network; `networks` lists them.")]
SizeText = Annotated[
    str | None,
    typer.Option("--size", help="Image size: `224`, or `224x160` (HxW); by default the network's."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the network: `--set in_channels=3`. Repeatable."),
]
Seed = Annotated[int, typer.Option(help="Seed of the weights, where no file is given.")]
WeightsFile = Annotated[
    Path | None, typer.Option("--weights", help="A file of shared weights, instead of a seed.")
]
OnnxFile = Annotated[
    Path | None,
    typer.Option("--onnx", help="A file of `export`, for the onnx backend to run."),
]
ImagesPath = Annotated[
    Path | None,
    typer.Option("--images", help="An image or a folder; by default six photographs."),
]
Batch = Annotated[
    int | None,
    typer.Option(help="How many images; by default all given, or 2 of the photographs."),
]
Device = Annotated[str, typer.Option(help="`cpu` or `gpu`.")]
Pythons = Annotated[
    list[str] | None,
    typer.Option("--python", help="Another interpreter for a backend: `mx=path/to/python`."),
]
Timeout = Annotated[float, typer.Option(help="Seconds after which a backend is given up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PageFile = Annotated[
    Path | None, typer.Option("--report", help="Write one HTML page there, to look at.")
]


def words(text: str) -> list[str]:
    """Split at commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


@contextlib.contextmanager
def progress(title: str = "") -> Iterator[Callable[[str], None]]:
    """Show a line that changes; without a terminal, the title alone."""
    if not err.is_terminal:
        if title:
            err.print(title.rstrip())
        yield lambda text: None
        return
    with err.status(f"{title}starting") as status:
        yield lambda text: status.update(f"{title}{text}")
