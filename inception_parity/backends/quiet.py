"""Libraries kept from writing to the standard error, as they do from C++, past `sys.stderr`."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Printed by TensorFlow's C++, whatever TF_CPP_MIN_LOG_LEVEL says.
STARTUP_LINES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|oneDNN custom operations are on"
)


@contextlib.contextmanager
def quiet(hidden: re.Pattern[bytes] = re.compile(b"")) -> Iterator[None]:
    """Hold back what is written to the standard error, and then write it.

    Lines that match `hidden` are left out; if an exception is raised, only TensorFlow's start-up
    lines are.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as real:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden = STARTUP_LINES
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real.fileno(), 2)
            held.seek(0)
            real.writelines(line for line in held if hidden.search(line) is None)


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that it prints before its own log level applies.

    Raises:
        ImportError: it isn't installed, or can't be loaded.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet(STARTUP_LINES):
            importlib.import_module("tensorflow")
