"""Words of the command line, turned into values or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, nearest
from ..networks import catalogue
from ..workers.interpreters import require_interpreter


def words(text: str) -> tuple[str, ...]:
    """Split at commas, and keep each word once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def parse_settings(texts: Sequence[str] | None) -> dict[str, str]:
    """Turn `name=value` words into a dictionary."""
    settings: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--set {text!r}, but should be like --set in_channels=3")
        if name in settings:
            raise InputError(f"--set {name} is given twice")
        settings[name] = value
    return settings


def parse_pythons(texts: Sequence[str] | None, backends: Sequence[str]) -> dict[str, Path]:
    """Turn `backend=path` words into a dictionary of interpreters that have the framework."""
    pythons: dict[str, Path] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise InputError(f"--python {text!r}, but should be like --python mx=path/to/python")
        catalogue.backend(name)
        if name not in backends:
            raise InputError(f"--python {text}: {name} isn't among the backends asked for")
        if name in pythons:
            raise InputError(f"--python {name} is given twice")
        pythons[name] = Path(value).absolute()  # not resolved: a link leads out of its environment
        require_interpreter(name, pythons[name])
    return pythons


def parse_backends(text: str, without_oracle: str = "") -> tuple[str, ...]:
    """Return the backends that `--backends` names.

    Args:
        text: their names, with commas.
        without_oracle: what to say if the oracle is among them, where it can't be.
    """
    found = words(text)
    if not found:
        raise InputError("--backends is empty; leave it out for the default")
    for name in found:
        catalogue.backend(name)
        if without_oracle and name == catalogue.ORACLE:
            raise InputError(f"np is the oracle: {without_oracle}")
    return found


def parse_dtypes(text: str, known: Sequence[str] = catalogue.DTYPES) -> tuple[str, ...]:
    """Return the dtypes that `--dtypes` names, if all of them are `known`."""
    found = words(text)
    if not found:
        raise InputError("--dtypes is empty; leave it out for the default")
    for name in found:
        require_dtype(name, known)
    return found


def require_dtype(name: str, known: Sequence[str] = catalogue.DTYPES) -> None:
    """Raise InputError unless `name` is one of the `known` dtypes."""
    if name not in known:
        raise InputError(f"no dtype {name!r}{nearest(name, known)}; there are: {', '.join(known)}")


def require_timeout(seconds: float) -> None:
    """Raise InputError unless `seconds` is a time limit."""
    if not seconds > 0:  # NaN isn't either
        raise InputError(f"--timeout {seconds:g}, but should be more than 0 seconds")
