"""The order of the engine's rooms, and that nothing goes in a circle: pyproject.toml has both."""

from __future__ import annotations

from importlinter.cli import lint_imports


def test_imports_go_one_way(capsys):
    broken = lint_imports(no_cache=True, show_timings=False)
    assert not broken, capsys.readouterr().out
