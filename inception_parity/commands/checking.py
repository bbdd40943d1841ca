"""The commands `check` and `check-training`: networks in several backends and the oracle."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from .. import files
from ..checking import runner as checks
from ..checking.result import CheckResult
from ..checking.task import Cell
from ..data import images
from ..errors import InputError
from ..networks import catalogue
from ..report import junit, page, record, terminal
from ..report import training as training_report
from ..report.sheet import Sheet
from ..traces.trace import Trace
from ..training_check.runner import TrainingResult, check_training
from ..training_check.trial import Trial, make_trial
from . import out, print_line, progress, write_json
from .arguments import parse_dtypes
from .option_groups import command
from .options import Case, InputOptions, Reports, Results, Selection, WorkerOptions

OF_TRAINING = {"--mode", "--optimizer", "--lr", "--steps", "--freeze"}


class CheckCommand(TyperCommand):
    """Refuses options that belong to `check-training`, which used to be part of `check`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words that follow `check`; InputError, if they say how to train."""
        words = [
            part for word in args for part in (word.split("=") if word[:7] == "--mode=" else [word])
        ]
        flags = OF_TRAINING.intersection(word.partition("=")[0] for word in words)
        if not flags:
            return super().parse_args(ctx, args)
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

    junit: Path | None = None

    def write(self, results: list[CheckResult], sheets: list[Sheet]) -> None:
        """Write those that were asked for."""
        write_json(self.json, record.check_record(results))
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
    onnx: Path | None = None,
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
        with _loading(case) as say:
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
        _say_kept(case)
    if selection.everything:
        terminal.show_matrix(out, results)
    reports.write(results, sheets)
    raise typer.Exit(record.exit_code(results))


@contextlib.contextmanager
def _loading(case: Case) -> Iterator[Callable[[str], None]]:
    """Show the progress of a case, which begins with loading what it is given."""
    with progress(case.title) as say:
        say("loading weights and images")
        yield say


def _say_kept(case: Case) -> None:
    if case.folder is not None:
        print_line(f"traces: {case.folder}")


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


@dataclass(frozen=True)
class TrainingOptions:
    """How the networks are trained."""

    optimizer: str = "momentum"
    lr: float | None = None
    steps: int = 3
    freeze: list[str] | None = None

    def trial(self, network: str, options: Mapping[str, Any], batch: int | None) -> Trial:
        """Return how a network is trained, with 4 images in a step by default."""
        return make_trial(
            network, options, optimizer=self.optimizer, lr=self.lr, steps=self.steps,
            batch=4 if batch is None else batch, frozen=tuple(self.freeze or ()),
        )  # fmt: skip


@command("check-training")
def check_training_command(
    selection: Selection,
    given: InputOptions,
    training: TrainingOptions,
    workers: WorkerOptions,
    left: Results,
) -> None:
    """Check that backends train alike, over a few steps.

    Each trains in its framework's own way, on the same batches. Losses, gradients,
    batch norm's statistics and the weights after the first and the last step are
    compared with the oracle, the optimizer's definition and each other.

    Exit code 0: all agree. 1: something diverges. 2: bad usage or input.
    3: a backend is missing, crashed, timed out or couldn't be judged.

    Example:

        inception-parity check-training googlenet --size 64 --optimizer adam
    """
    backends = selection.chosen_backends()
    if "onnx" in backends:
        raise InputError("an ONNX file can't be trained; leave onnx out of --backends")
    settings = workers.settings(backends, parse_dtypes(selection.dtypes))
    cases = selection.cases(given, left.keep)
    left.require_writable()
    for case in cases:  # what can't be used is refused before any work
        resolved = catalogue.network(case.network).resolve(case.options)
        training.trial(case.network, resolved, given.batch)
    # The images make up the batches of all steps.
    every = replace(given, batch=len(images.photographs()) if given.images is None else None)
    results: list[TrainingResult] = []
    for case in cases:
        with _loading(case) as say:
            task = every.task(case.network, case.options)
            trial = training.trial(case.network, task.weights.options, given.batch)
            results.append(check_training(task, trial, settings, case.folder, say))
        training_report.show(out, results[-1])
        _say_kept(case)
    found = training_report.record(results)
    write_json(left.json, found)
    raise typer.Exit(int(found["exit_code"]))
