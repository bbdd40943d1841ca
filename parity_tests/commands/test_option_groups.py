"""A dataclass in a command's signature stands for its fields."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from inception_parity.commands.option_groups import flattened


@dataclass(frozen=True)
class Size:
    """Two options, one of which has a name of its own."""

    height: int = typer.Option(2, help="Rows.")
    width: Annotated[int, typer.Option("--columns", help="Columns.")] = 3


@dataclass(frozen=True)
class Volume(Size):
    """Another default for an option, and one option more."""

    height: int = typer.Option(5, help="Rows.")
    depth: int = typer.Option(7, help="Layers.")


def show(name: str, size: Volume, loud: bool = typer.Option(False, "--loud")) -> None:
    """Show a size."""
    print(name, size, loud)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "box Volume(height=5, width=3, depth=7) False"),
        (("--columns", "1", "--loud"), "box Volume(height=5, width=1, depth=7) True"),
        (("--height", "4", "--depth", "6"), "box Volume(height=4, width=3, depth=6) False"),
    ],
)
def test_fields_are_options(words: tuple[str, ...], said: str) -> None:
    app = typer.Typer()
    app.command()(flattened(show))
    assert CliRunner().invoke(app, ["box", *words]).output == f"{said}\n"


def test_function_s_own_parameters_stay_in_their_place() -> None:
    assert list(inspect.signature(flattened(show)).parameters) == [
        "name", "height", "width", "depth", "loud"
    ]  # fmt: skip


def test_two_options_with_the_same_name_are_refused() -> None:
    def twice(height: int, size: Size) -> None:
        """Have two heights."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'height'"):
        flattened(twice)
