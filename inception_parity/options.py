"""Words of the command line, turned into values or refused."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import catalogue
from .errors import InputError
from .processes import require_interpreter

LARGEST_SIDE = 4096  # a larger image would need tens of gigabytes of traces


def parse_size(text: str) -> tuple[int, int]:
    """Turn `224` or `224x160` into (height, width)."""
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text.strip().lower())
    if match is None:
        raise InputError(f"size {text!r}, but should be like 224, or 224x160 (height x width)")
    height = int(match[1])
    width = int(match[2]) if match[2] else height
    if not 1 <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
        raise InputError(f"size {text}, but each side should be 1 to {LARGEST_SIDE}")
    return height, width


def parse_settings(words: Sequence[str] | None) -> dict[str, str]:
    """Turn `name=value` words into a dictionary."""
    settings: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"--set {word!r}, but should be like --set in_channels=3")
        if name in settings:
            raise InputError(f"--set {name} is given twice")
        settings[name] = value
    return settings


def parse_pythons(words: Sequence[str] | None, backends: Sequence[str]) -> dict[str, Path]:
    """Turn `backend=path` words into a dictionary of interpreters that have the framework."""
    pythons: dict[str, Path] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise InputError(f"--python {word!r}, but should be like --python mx=path/to/python")
        catalogue.backend(name)
        if name not in backends:
            raise InputError(f"--python {word}: {name} isn't among the backends asked for")
        if name in pythons:
            raise InputError(f"--python {name} is given twice")
        pythons[name] = Path(value).absolute()  # not resolved: a link leads out of its environment
        require_interpreter(name, pythons[name])
    return pythons


def require_writable(file: Path) -> None:
    """Raise InputError, before any work is done, unless `file` can be written."""
    if file.is_dir():
        raise InputError(f"{file}: a folder, but should be a file's name")
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: a device, but should be a file's name")
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}; make it first")
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix="."):
            pass  # permissions alone don't tell
    except OSError as error:
        raise InputError(
            f"{file}: the folder {file.parent} can't be written to ({error.strerror}); "
            "give another one"
        ) from error
