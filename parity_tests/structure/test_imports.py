"""The order of the engine's folders, and no circular imports, as stated in pyproject.toml."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "inception_parity"
PYPROJECT = ROOT / "pyproject.toml"
LINTER = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]
ORDER = next(contract for contract in LINTER["contracts"] if contract["id"] == "order")
MOST_LOOSE_FILES = 8

LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True, no_logo=True))
"""


def lint(root: Path) -> tuple[bool, str]:
    """Return whether the imports in `root` break a contract, and which ones do."""
    done = subprocess.run(
        [sys.executable, "-c", LINT], cwd=root, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(root), "NO_COLOR": "1", "COLUMNS": "100"},
    )  # fmt: skip
    _, _, broken = done.stdout.partition("Broken contracts")
    return done.returncode != 0, broken.strip("-\n ") or done.stdout + done.stderr


def test_imports_go_one_way() -> None:
    broken, report = lint(ROOT)
    if broken:
        pytest.fail(
            f"imports that pyproject.toml's [tool.importlinter] forbids:\n\n{report}", False
        )


def test_every_folder_and_file_has_its_place_in_the_order() -> None:
    assert ORDER["exhaustive"] is True
    places = [name for layer in ORDER["layers"] for name in layer.split(" : ")]
    assert len(set(places)) == len(places)
    found = {path.stem for path in ENGINE.glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in ENGINE.glob("*/__init__.py")}
    assert set(places) == found


def test_few_files_stand_loose() -> None:
    loose = sorted(path.name for path in ENGINE.glob("*.py"))
    assert len(loose) <= MOST_LOOSE_FILES, loose


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a copy of all packages, and the contracts already broken there."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copy(PYPROJECT, root)
    for package in LINTER["root_packages"]:
        only_modules = shutil.ignore_patterns("__pycache__", "photographs", "page")
        shutil.copytree(ROOT / package, root / package, ignore=only_modules)
    return root, lint(root)[1]


SEEDS = {  # file, line added to it -> what the report must say
    "upwards": ("inception_parity/errors.py", "from . import cli",
                "inception_parity.errors -> inception_parity.cli"),
    "for types alone": ("inception_parity/errors.py",
                        "import typing\nif typing.TYPE_CHECKING:\n    from . import cli",
                        "inception_parity.errors -> inception_parity.cli"),
    "within a function": ("inception_parity/errors.py", "def f():\n    from . import cli",
                          "inception_parity.errors -> inception_parity.cli"),
    "circle in a folder": ("inception_parity/networks/catalogue.py", "from . import sizes",
                           "No cycles are allowed in inception_parity.networks."),
    "circle in a package": ("inception_mx/pools.py", "from . import googlenet",
                            "No cycles are allowed in inception_mx."),
    "engine in a framework package": ("inception_pt/pools.py", "import inception_parity",
                                      "inception_pt.pools -> inception_parity"),
    "other framework package": ("inception_pt/pools.py", "import inception_np",
                                "inception_pt.pools -> inception_np"),
    "folder without a place": ("inception_parity/attic/__init__.py", "", "attic"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "code", "text"), SEEDS.values(), ids=SEEDS)
def test_a_seeded_import_breaks_a_contract(
    copied: tuple[Path, str], file: str, code: str, text: str
) -> None:
    root, before = copied
    path = root / file
    existed, content = path.exists(), path.read_text() if path.exists() else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{content}\n{code}\n")
    try:
        broken, report = lint(root)
    finally:
        path.write_text(content) if existed else shutil.rmtree(path.parent)
    assert broken
    assert text not in before
    assert text in report


def test_tests_import_no_benchmarks() -> None:
    """Benchmarks import faults and support code from the tests, never the other way round."""
    found = []
    for path in (ROOT / "parity_tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [str(path) for name in names if name.partition(".")[0] == "benchmarks"]
    assert found == []
