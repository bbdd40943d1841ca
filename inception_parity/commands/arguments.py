"""Words of the command line, turned into values or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..networks import catalogue
from ..workers.interpreters import require_interpreter


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
