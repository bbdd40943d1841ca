"""The README's commands and programs do what it says they do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import chosen_backends

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
def test_python_examples_run_in_order(tmp_path: Path) -> None:
    assert len(PYTHON) >= 2
    for text in PYTHON:
        done = run([sys.executable, "-c", text], tmp_path)
        assert done.returncode == 0, done.stderr


@needs_all
def test_commands_run_in_order(tmp_path: Path) -> None:
    commands = [line for line in SHELL if line.startswith("inception-parity ")]
    assert len(commands) >= 6
    for line in commands:
        words = line.split()[1:]
        done = run([sys.executable, "-m", "inception_parity.cli", *words], tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), f"{line} prints nothing"


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
    assert targets == ["parity", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_ci_runs_the_readme_s_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
