"""The errors that users are meant to see, and the exit codes of the command."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

AGREE, DIVERGE, BROKEN = 0, 1, 3  # exit codes; 2 is bad usage or input
INTERRUPTED = 130  # as of a program that SIGINT ends


class InputError(Exception):
    """Something the user gave can't be used: what, where, expected, how to mend.

    The command prints the text and exits with 2; nothing is left half-written.
    """


class OracleError(Exception):
    """The oracle, without which nothing can be judged, didn't run; exit code 3."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean …?)` for the choice nearest to `word`, or nothing."""
    matches = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""
