"""The command `check`: networks in several backends, held against the oracle."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer import Option
from typer.core import TyperCommand

from .. import files
from ..checking import runner as checks
from ..checking.result import CheckResult
from ..checking.task import Cell
from ..errors import InputError
from ..report import junit, page, record, terminal
from ..report.sheet import Sheet
from ..traces.trace import Trace
from . import out, print_line, progress
from .arguments import parse_dtypes
from .option_groups import command
from .options import InputOptions, OnnxFile, Reports, Selection, WorkerOptions

OF_TRAINING = {"--mode", "--optimizer", "--lr", "--steps", "--freeze"}


class CheckCommand(TyperCommand):
    """Refuses options that belong to `check-training`, which used to be part of `check`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words that follow `check`."""
        _refuse_training(args)
        return super().parse_args(ctx, args)


def _refuse_training(args: Sequence[str]) -> None:
    """Raise InputError, with the command to give instead, if training is to be checked."""
    words = [
        part for word in args for part in (word.split("=") if word[:7] == "--mode=" else [word])
    ]
    flags = OF_TRAINING.intersection(word.partition("=")[0] for word in words)
    if not flags:
        return
    if "--mode" in flags:
        place = words.index("--mode")
        if words[place + 1 :][:1] == ["inference"]:
            raise InputError("check has no --mode; leave it out")
        del words[place : place + 2]
    instead = shlex.join(["inception-parity", "check-training", *words])
    raise InputError(f"check has no {', '.join(sorted(flags))}; to check training: {instead}")


@dataclass(frozen=True)
class CheckReports(Reports):
    """The files that a check leaves."""

    junit: Path | None = Option(None, help="Write a report to this file, as JUnit's XML.")

    def write(self, results: list[CheckResult], sheets: list[Sheet]) -> None:
        """Write those that were asked for."""
        if self.json is not None:
            files.write_whole(self.json, record.dumps(record.check_record(results)).encode())
        if self.junit is not None:
            files.write_whole(self.junit, junit.dumps(results).encode())
        if self.page is not None:
            page.write(self.page, sheets)
            print_line(f"page: {self.page}")


@command("check", cls=CheckCommand)
def check_command(
    selection: Selection,
    given: InputOptions,
    workers: WorkerOptions,
    reports: CheckReports,
    onnx: OnnxFile = None,
) -> None:
    """Check that backends agree with the float64 oracle, at every endpoint.

    All run with the same weights and images, each in a process of its own. Where one
    disagrees, the first wrong layer is named, and the likely cause.

    Exit code 0: all agree. 1: something diverges. 2: bad usage or input.
    3: a backend that was asked for is missing, crashed or timed out, or nothing
    could be run.

    Example:

        inception-parity check googlenet --set batch_norm=true --size 97
    """
    backends = selection.chosen_backends()
    if selection.backends is None and onnx is not None:
        backends = (*backends, "onnx")
    settings = workers.settings(backends, parse_dtypes(selection.dtypes), onnx)
    cases = selection.cases(given, reports.keep, onnx)
    reports.require_writable()
    results: list[CheckResult] = []
    sheets: list[Sheet] = []
    for case in cases:
        with progress(case.title) as say:
            say("loading weights and images")
            task = given.task(case.network, case.options, onnx)
            draw = None
            if reports.page is not None:
                named = [case.network, *given.words(case.options)]
                draw = _drawing(sheets, named, len(cases) == 1, say)
            results.append(checks.check(task, settings, case.folder, say, draw))
        if selection.everything:
            terminal.show_failures(out, results[-1])
        else:
            terminal.show(out, results[-1])
        if case.folder is not None:
            print_line(f"traces: {case.folder}")
    if selection.everything:
        terminal.show_matrix(out, results)
    reports.write(results, sheets)
    raise typer.Exit(record.exit_code(results))


def _drawing(
    sheets: list[Sheet], words: list[str], every_picture: bool, say: Callable[[str], None]
) -> Callable[[CheckResult, Trace, Mapping[Cell, Trace]], None]:
    """Return what draws a check for the page; `words` name its network and what it was given."""

    def draw(result: CheckResult, oracle: Trace, traces: Mapping[Cell, Trace]) -> None:
        settings, (height, width) = result.settings, result.subject.size
        again = [
            "inception-parity", "check", *words, "--size", f"{height}x{width}",
            "--batch", str(len(result.subject.image_names)),
            "--backends", ",".join(settings.backends), "--dtypes", ",".join(settings.dtypes),
            "--device", settings.device,
        ]  # fmt: skip
        for backend, python in settings.pythons.items():
            again += ["--python", f"{backend}={python}"]
        sheets.append(page.of_check(result, oracle, traces, again, every_picture, say))

    return draw
