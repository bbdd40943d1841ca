"""The errors that users are meant to see, and the exit codes of the command."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

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


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean …?)` for the choice nearest to `word`, or nothing."""
    matches = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def few(names: Sequence[str], most: int = 8) -> str:
    """Return the first of `names`, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
