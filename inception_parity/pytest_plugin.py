"""A pytest plugin: the fixture `assert_parity`.

    def test_port(assert_parity):
        assert_parity(original, port, numpy.random.rand(1, 3, 96, 96))

It is loaded by every pytest of the environment, so it imports nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .models import ModelReport


@pytest.fixture(scope="session")
def assert_parity() -> Callable[..., ModelReport]:
    """Return a function that fails the test unless two models agree, layer by layer.

    Its arguments are those of `inception_parity.compare`, the original first; it returns
    the report. A failing test shows where they begin to differ, and why.
    """

    def check(a: Any, b: Any, inputs: Any = None, **options: Any) -> ModelReport:
        __tracebackhide__ = True
        from .models import compare

        report = compare(a, b, inputs, **options)
        if report.fails:
            pytest.fail(f"the models differ\n{report.text()}", pytrace=False)
        return report

    return check
