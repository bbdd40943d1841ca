"""Other interpreters for backends: whether they have what a worker needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..errors import InputError
from ..networks import catalogue
from .processes import end_group

PROBE_SECONDS = 60  # for an interpreter to say what it has; a cold disk is slow


def require_interpreter(backend: str, python: Path) -> None:
    """Raise InputError unless `python` is an interpreter that has the backend's framework."""
    info = catalogue.backend(backend)
    where = f"--python {backend}={python}"
    if not python.is_file() or not os.access(python, os.X_OK):
        raise InputError(f"{where}: no such interpreter; give the path of a python executable")
    probe = (
        "import importlib.util, sys; print('modules', sys.version_info[:2] >= (3, 11), "
        f"*(importlib.util.find_spec(m) is not None for m in ('numpy', {info.framework!r})))"
    )
    words = _answer(where, python, probe)
    if len(words) != 4 or words[0] != "modules":
        raise InputError(f"{where}: doesn't answer as a Python 3.11 interpreter does")
    if words[1] != "True":
        raise InputError(f"{where}: older than Python 3.11")
    for module, found in zip(("numpy", info.framework), words[2:], strict=True):
        if found != "True":
            raise InputError(
                f"{where}: this interpreter has no {module}; "
                f"install it there: {python} -m pip install {module}"
            )


def _answer(where: str, python: Path, probe: str) -> list[str]:
    """Return the words of the last line that `python -c probe` prints; none if it fails."""
    # Its own modules are asked for, so those on our path and in the current folder don't count.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        process = subprocess.Popen(
            [python, "-c", probe], text=True, env={**environment, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"{where}: can't be run ({error.strerror})") from error
    try:
        output, _ = process.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{where}: doesn't answer within {PROBE_SECONDS} s") from error
    except UnicodeDecodeError:
        return []
    finally:
        end_group(process)
        assert process.stdout is not None
        process.stdout.close()
    lines = output.splitlines()
    return lines[-1].split() if lines and process.returncode == 0 else []
