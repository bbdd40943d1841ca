"""Which tests `make test` runs, and which are left to `make test-all`.

A test that needs a whole network, a compiler or minutes is marked `slow`. Where only some of a
test's parameters are slow, `slow_unless` decides which are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

# The ones that Keras and MXNet build fastest.
SMALL_NETWORKS = ("googlenet", "inception_v1", "ceil_googlenet")


def slow_unless(quick: Callable[[dict[str, Any]], bool], reason: str) -> pytest.MarkDecorator:
    """Mark a test's parameter sets as slow where `quick` is false.

    Args:
        quick: takes the parameters by name, and returns whether `make test` runs them.
        reason: why the others are slow, or redundant in a quick run.
    """
    return pytest.mark.slow_unless(quick, reason=reason)


def mark_slow(items: Sequence[pytest.Item]) -> None:
    """Apply the `slow_unless` marks."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if any(not mark.args[0](params) for mark in item.iter_markers("slow_unless")):
            item.add_marker(pytest.mark.slow)


def takes_turn(choices: Sequence[Any], choice: Any, number: int) -> bool:
    """Return whether it is the turn of `choice` in round `number`.

    Over consecutive rounds every choice gets its turn.
    """
    return choices[number % len(choices)] == choice
