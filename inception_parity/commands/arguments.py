"""Words of the command line, converted to values or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, nearest
from ..networks import catalogue
from ..workers.interpreters import require_interpreter


def words(text: str) -> tuple[str, ...]:
    """Split at commas, and keep each word once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _named(flag: str, texts: Sequence[str] | None, example: str) -> dict[str, str]:
    """Turn `name=value` words into a dictionary."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{flag} {text!r}, but should be like {flag} {example}")
        if name in found:
            raise InputError(f"{flag} {name} is given twice")
        found[name] = value
    return found


def parse_settings(texts: Sequence[str] | None) -> dict[str, str]:
    """Return the options of a network that `--set` gives."""
    return _named("--set", texts, "in_channels=3")


def parse_pythons(texts: Sequence[str] | None, backends: Sequence[str]) -> dict[str, Path]:
    """Return the interpreters that `--python` gives, which have to have their frameworks."""
    pythons: dict[str, Path] = {}
    for name, value in _named("--python", texts, "mx=path/to/python").items():
        if not value:
            raise InputError(f"--python '{name}=', but should be like --python mx=path/to/python")
        catalogue.backend(name)
        if name not in backends:
            raise InputError(f"--python {name}={value}: {name} isn't among the backends asked for")
        pythons[name] = Path(value).absolute()  # not resolved: a link leads out of its environment
        require_interpreter(name, pythons[name])
    return pythons


def _listed(flag: str, text: str) -> tuple[str, ...]:
    found = words(text)
    if not found:
        raise InputError(f"{flag} is empty; leave it out for the default")
    return found


def parse_backends(text: str, without_oracle: str = "") -> tuple[str, ...]:
    """Return the backends that `--backends` names.

    Args:
        text: their names, with commas.
        without_oracle: what to say if the oracle is among them, where it can't be.
    """
    found = _listed("--backends", text)
    for name in found:
        catalogue.backend(name)
        if without_oracle and name == catalogue.ORACLE:
            raise InputError(f"np is the oracle: {without_oracle}")
    return found


def parse_dtypes(text: str, known: Sequence[str] = catalogue.DTYPES) -> tuple[str, ...]:
    """Return the dtypes that `--dtypes` names, if all of them are `known`."""
    found = _listed("--dtypes", text)
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
