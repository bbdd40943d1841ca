"""Command lines in the README, the docs and the examples have options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from inception_parity import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [*sorted((ROOT / "examples").glob("*.py")), ROOT / "Makefile"]
LINE = re.compile(r"^(?:\$ |\s*\$\(BIN\)/)?inception-parity (.*)$", re.MULTILINE)
COMMANDS = typer.main.get_command(cli.app).commands


def lines() -> list[str]:
    """Return the command lines, without another command or a [synopsis] after them."""
    found = []
    for page in (*PAGES, *SOURCES):
        text = page.read_text().replace("\\\n", " ")
        if page in PAGES:
            text = "\n".join(re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        found += [re.split(r" \| |; |\[", line)[0] for line in LINE.findall(text)]
    return sorted(set(found))


def test_there_are_command_lines() -> None:
    assert len(lines()) >= 40


@pytest.mark.parametrize("line", lines())
def test_command_line_can_be_given(line: str) -> None:
    name, *words = shlex.split(line, comments=True)
    COMMANDS[name].make_context(name, words)  # raises if there is no such option
