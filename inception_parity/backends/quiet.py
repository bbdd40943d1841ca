"""TensorFlow imported without the lines that it prints before its own log level applies."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile

# Printed by TensorFlow's C++, whatever TF_CPP_MIN_LOG_LEVEL says.
STARTUP_LINES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|oneDNN custom operations are on"
)


def import_tensorflow() -> None:
    """Import TensorFlow; of what is printed to stderr meanwhile, its start-up lines are left out.

    Raises:
        ImportError: it isn't installed, or can't be loaded.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)  # what C++ prints knows no sys.stderr
        try:
            importlib.import_module("tensorflow")
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if STARTUP_LINES.search(line) is None:
                    os.write(2, line)
