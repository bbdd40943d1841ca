"""Parameters of commands: dataclasses stand for their fields, and a file describes all."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest
import typer
from typer.testing import CliRunner

from inception_parity import cli
from inception_parity.commands.option_groups import DESCRIPTIONS, flattened
from inception_parity.data.feed import AUGMENTATIONS
from inception_parity.libraries import LIBRARIES
from inception_parity.training.plan import DEFAULTS
from inception_parity.training_check.trial import PRESETS

COMMANDS = typer.main.get_command(cli.app).commands
DESCRIBED = {
    "name": {"argument": True, "help": "Its name."},
    "height": "Rows.",
    "width": {"flag": "--columns", "help": "Columns."},
    "depth": "Layers.",
    "loud": "Whether to shout.",
}


@dataclass(frozen=True)
class Size:
    """Two options, one of which has a name of its own."""

    height: int = 2
    width: int = 3


@dataclass(frozen=True)
class Volume(Size):
    """Another default for an option, and one option more."""

    height: int = 5
    depth: int = 7


def show(name: str, size: Volume, loud: bool = False) -> None:
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
    app.command()(flattened(show, DESCRIBED))
    assert CliRunner().invoke(app, ["box", *words]).output == f"{said}\n"


def test_function_s_own_parameters_stay_in_their_place() -> None:
    assert list(inspect.signature(flattened(show, DESCRIBED)).parameters) == [
        "name", "height", "width", "depth", "loud"
    ]  # fmt: skip


def test_two_options_with_the_same_name_are_refused() -> None:
    def twice(height: int, size: Size) -> None:
        """Have two heights."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'height'"):
        flattened(twice, DESCRIBED)


def test_a_parameter_without_a_description_is_refused() -> None:
    with pytest.raises(KeyError, match="depth"):
        flattened(show, {name: text for name, text in DESCRIBED.items() if name != "depth"})


def test_every_description_is_used() -> None:
    names = {name: {parameter.name for parameter in c.params} for name, c in COMMANDS.items()}
    own = {name: set(texts) for name, texts in DESCRIPTIONS.items() if name != "shared"}
    assert own.keys() <= names.keys()
    assert {name: texts - names[name] for name, texts in own.items() if texts - names[name]} == {}
    for name in DESCRIPTIONS["shared"]:
        users = [c for c in names if name in names[c] and name not in own.get(c, ())]
        assert len(users) > 1, f"{name}: of {users} alone, so it belongs in that section"


@pytest.mark.parametrize(
    ("command", "option", "said"),
    [
        ("check-training", "optimizer", PRESETS),
        ("train", "augment", AUGMENTATIONS),
        ("convert", "library", LIBRARIES),
        ("train", "batch", [DEFAULTS["batch"]]),
        ("evaluate", "batch", [DEFAULTS["batch"]]),
    ],
)
def test_descriptions_name_what_can_be_chosen(command, option, said) -> None:
    (found,) = (parameter for parameter in COMMANDS[command].params if parameter.name == option)
    assert [str(name) for name in said if str(name) not in found.help] == []
