"""The files and functions that CONTRIBUTING names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = (ROOT / "inception_parity", ROOT, ROOT / "inception_np")
PATHS = sorted(
    path for path in set(re.findall(r"`([\w/]+(?:\.(?:py|toml)|/))`", TEXT)) if "NAME" not in path
)
# A file and its functions: `a.py` (`f`, `g`); in brackets: `a.py`: `f`; or a `F` (`a.py`).
AFTER = re.findall(r"`([\w/]+\.py)`(?:\s+\(|:\s+)((?:`\w+`(?:,\s+)?)+)", TEXT)
BEFORE = re.findall(r"`(\w+)`\s+\(`([\w/]+\.py)`", TEXT)
NAMES = sorted(
    {(file, name) for file, names in AFTER for name in re.findall(r"\w+", names)}
    | {(file, name) for name, file in BEFORE}
)


def place(path: str) -> Path:
    return next((folder / path for folder in PLACES if (folder / path).exists()), ROOT / path)


def names_in(file: Path) -> set[str]:
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found


def test_there_is_something_to_look_for() -> None:
    assert len(PATHS) >= 25
    assert len(NAMES) >= 20


@pytest.mark.parametrize("path", PATHS)
def test_path_exists(path: str) -> None:
    assert place(path).exists()


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_name_is_in_its_file(file: str, name: str) -> None:
    assert name in names_in(place(file))
