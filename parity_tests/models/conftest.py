"""What the tests of other people's models share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..support.small_models import older_interface


@pytest.fixture
def older_mxnet() -> Iterator[Any]:
    """Return MXNet with its older interface, whatever was imported before."""
    with older_interface() as mxnet:
        yield mxnet
