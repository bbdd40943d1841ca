"""The README's commands and programs do what it says they do."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import chosen_backends
from ..support.command import call

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SHELL = [
    line.partition("#")[0].strip()
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
]
ALL_FRAMEWORKS = {"pt", "tf", "mx"} <= set(chosen_backends())

needs_all = pytest.mark.skipif(
    not ALL_FRAMEWORKS, reason="the README's commands use all three frameworks"
)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@needs_all
@pytest.mark.slow  # whole networks
def test_python_examples_run_in_order(tmp_path: Path) -> None:
    assert len(PYTHON) >= 2
    for text in PYTHON:
        done = run([sys.executable, "-c", text], tmp_path)
        assert done.returncode == 0, done.stderr


COMMANDS = [line.split()[1:] for line in SHELL if line.startswith("inception-parity ")]


def made(words: list[str]) -> set[str]:
    """Return the files and folders that a command makes."""
    return {path for option, path in itertools.pairwise(words) if option in ("--out", "--plot")}


def chain(number: int) -> list[list[str]]:
    """Return a command, after those before it that make what it reads."""
    words = COMMANDS[number]
    first = [n for n in range(number) if made(COMMANDS[n]) & set(words)]
    return [*itertools.chain.from_iterable(map(chain, first)), words]


def is_last(number: int) -> bool:
    """Return whether no later command reads what this one makes: others are in its chain."""
    later = COMMANDS[number + 1 :]
    return not any(made(COMMANDS[number]) & set(words) for words in later)


CHAINS = [chain(number) for number in range(len(COMMANDS)) if is_last(number)]
SLOW = ("check", "check-training", "min-size")  # they run all frameworks


def test_every_command_is_in_a_chain() -> None:
    assert len(COMMANDS) >= 6
    assert [words for words in COMMANDS if not any(words in chain for chain in CHAINS)] == []


@needs_all
@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(
            commands,
            id=" ".join(commands[-1]),
            marks=[pytest.mark.slow] if commands[-1][0] in SLOW else [],
        )
        for commands in CHAINS
    ],
)
def test_commands_run_in_order(
    commands: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the order of the README, each chain in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for words in commands:
        done = call(capsys, *words)
        assert done.code == 0, f"{words}\n{done.out}\n{done.err}"
        assert done.out.strip(), f"{words} prints nothing"


@pytest.mark.slow  # SAME padding in every framework, quickly: test_faults.py
@needs_all
@pytest.mark.parametrize(("size", "code"), [("96", "first: b1.0.conv"), ("97", "212/212")])
def test_same_padding_example_finds_the_stem_on_even_sizes_only(
    tmp_path: Path, size: str, code: str
) -> None:
    done = run([sys.executable, str(ROOT / "examples" / "same_padding.py"), size], tmp_path)
    assert done.returncode == 0, done.stderr
    assert code in done.stdout


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in SHELL if line.startswith("make ")]
    assert targets == ["parity", "test", "test-all"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_ci_runs_the_tests_that_make_test_leaves_out() -> None:
    assert re.search(r"^exec make test-all$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r"-m pytest -n 2 --dist worksteal(.*)", makefile) == [
        ' -m "not slow"',
        " parity_tests/packages",
        " --ignore parity_tests/packages",
    ]


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
