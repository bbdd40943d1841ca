"""The errors that users are meant to see, and the exit codes of the command."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# Exit codes of the command. 2 is bad usage or input, as Click has it too.
AGREE = 0  # everything that was asked for ran, and agrees
DIVERGE = 1  # something diverges
BROKEN = 3  # a backend is missing, crashed or timed out, or nothing could be judged
INTERRUPTED = 130  # by a signal, as a shell reports it


class ReportedError(Exception):
    """Ends the command: the user sees the text and no traceback, and nothing is half-written."""

    exit_code = BROKEN


class InputError(ReportedError):
    """Something the user gave can't be used: what, where, what was expected, how to fix it."""

    exit_code = 2


class OracleError(ReportedError):
    """The oracle, without which nothing can be judged, didn't run."""


@contextlib.contextmanager
def needs(what: str, extra: str, instead: str = "") -> Iterator[None]:
    """Turn the failure of an import into InputError: what needs the library, how to install it.

    Args:
        what: begins the message.
        extra: of this distribution, that installs the library.
        instead: what else can be done, as the message's last words.
    """
    try:
        yield
    except ImportError as error:
        hint = f"pip install 'inception-parity[{extra}]'{instead}"
        raise InputError(f"{what} ({error}); {hint}") from error


@contextlib.contextmanager
def reading(file: Path, problem: str) -> Iterator[None]:
    """Turn whatever wrong content leads to into InputError, which begins with the file's name."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{file}: {problem} ({error!r})") from error


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean …?)` for the choice nearest to `word`, or nothing."""
    matches = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def few(names: Sequence[str], most: int = 8) -> str:
    """Return the first of `names`, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
