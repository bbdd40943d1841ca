"""The command `inception-parity` as a program: exit codes, signals, one message per error.

Exit codes are those of `errors.py`; a command's help says what they mean for it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer
from rich.text import Text

from .commands import (  # noqa: F401  each registers its commands when it is imported
    about,
    app,
    checking,
    classifying,
    converting,
    differing,
    err,
    exporting,
    models,
    out,
    racing,
    scoring,
    tracing,
    training,
)
from .errors import INTERRUPTED, ReportedError
from .versions import __version__

__all__ = ["app", "invoke", "main"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # that ask the command to end


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        out.print(f"inception-parity {__version__}", highlight=False)
        raise typer.Exit


class Interrupted(BaseException):
    """A signal that asks the command to end. A KeyboardInterrupt would be Typer's to handle."""


def _interrupt(number: int, frame: object) -> None:
    for again in SIGNALS:
        signal.signal(again, signal.SIG_IGN)  # tidying up isn't interrupted
    raise Interrupted(signal.Signals(number).name)


def main() -> None:
    """Run the command as a program of its own."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `… | head` ends us as it ends others
    sys.exit(invoke())


def invoke(words: list[str] | None = None) -> int:
    """Run the command and return its exit code; an error ends in one message, not a traceback.

    Args:
        words: the command line; by default this process's own.
    """
    try:
        try:
            app(words)
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except ReportedError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory; give a smaller --batch or --size", 2)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at the end
        return _fail(f"can't read or write: {error}", 2)
    except Interrupted as signalled:
        err.print(
            f"interrupted by {signalled}: all workers were stopped, and nothing was left behind"
        )
        return INTERRUPTED
    return 0


def _fail(message: str, code: int) -> int:
    err.print(Text("error: ", style="bold red").append(message, style="not bold default"))
    return code


if __name__ == "__main__":
    main()
