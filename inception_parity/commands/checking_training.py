"""The command `check-training`: a few steps of training, the same in every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import typer
from typer import Option

from .. import files
from ..data import images
from ..errors import InputError
from ..files import require_writable
from ..networks import catalogue
from ..report import record
from ..report import training as report
from ..training_check.runner import TrainingResult, check_training
from ..training_check.trial import PRESETS, Trial, make_trial
from . import out, print_line, progress
from .arguments import parse_dtypes
from .option_groups import command
from .options import InputOptions, JsonFile, Keep, Selection, WorkerOptions


@dataclass(frozen=True)
class TrainingOptions:
    """How the networks are trained."""

    optimizer: str = Option(
        "momentum", help=f"One of {', '.join(f'`{name}`' for name in PRESETS)}."
    )
    lr: float | None = Option(None, help="Learning rate; by default the optimizer's own.")
    steps: int = Option(3, help="Number of steps.")
    freeze: list[str] | None = Option(
        None, help="A layer that isn't trained, such as `b1.0`. Repeatable."
    )


@dataclass(frozen=True)
class BatchOptions(InputOptions):
    """What a network is given in training: images make up the batches of all steps."""

    batch: int | None = Option(None, help="Images in a step; by default 4.")


@command("check-training")
def check_training_command(
    selection: Selection,
    given: BatchOptions,
    training: TrainingOptions,
    workers: WorkerOptions,
    json: JsonFile = None,
    keep: Keep = None,
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
    cases = selection.cases(given, keep)
    if json is not None:
        require_writable(json)
    if keep is not None:
        files.refuse_full(keep)

    def trial(network: str, options: Mapping[str, Any]) -> Trial:
        return make_trial(
            network, options, optimizer=training.optimizer, lr=training.lr, steps=training.steps,
            batch=4 if given.batch is None else given.batch, frozen=tuple(training.freeze or ()),
        )  # fmt: skip

    for case in cases:  # what can't be used is refused before any work
        trial(case.network, catalogue.network(case.network).resolve(case.options))
    every = replace(given, batch=len(images.photographs()) if given.images is None else None)
    results: list[TrainingResult] = []
    for case in cases:
        with progress(case.title) as say:
            say("loading weights and images")
            task = every.task(case.network, case.options)
            wanted = trial(case.network, task.weights.options)
            results.append(check_training(task, wanted, settings, case.folder, say))
        report.show(out, results[-1])
        if case.folder is not None:
            print_line(f"traces: {case.folder}")
    found = report.record(results)
    if json is not None:
        files.write_whole(json, record.dumps(found).encode())
    raise typer.Exit(int(found["exit_code"]))
