"""`check --mode training`: its options, and its loop over networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import files
from ..checking.task import Settings, Task
from ..errors import InputError, nearest
from ..networks import catalogue
from ..report import record
from ..report import training as report
from ..training_check.runner import check_training
from ..training_check.trial import PRESETS, make_trial
from . import out, progress

MODES = ("inference", "training")

Optimizer = Annotated[
    str | None,
    typer.Option(help=f"For training: {', '.join(f'`{name}`' for name in PRESETS)}."),
]
Lr = Annotated[float | None, typer.Option("--lr", help="For training: the learning rate.")]
Steps = Annotated[int | None, typer.Option(help="For training: number of steps; 3 by default.")]
Freeze = Annotated[
    list[str] | None,
    typer.Option("--freeze", help="For training: a layer that isn't trained, `b1.0`. Repeatable."),
]


def given(mode: str, **choices: Any) -> dict[str, Any]:
    """Return what was said about training.

    Raises:
        InputError: no such mode, or something was said that another mode has no use for.
    """
    if mode not in MODES:
        raise InputError(f"no mode {mode!r}{nearest(mode, MODES)}; there are: {', '.join(MODES)}")
    said = {name: value for name, value in choices.items() if value}
    if "lr" in choices and choices["lr"] is not None:
        said["lr"] = choices["lr"]
    if choices.get("steps") is not None:
        said["steps"] = choices["steps"]
    if said and mode != "training":
        names = ", ".join("--" + {"frozen": "freeze"}.get(name, name) for name in said)
        raise InputError(f"{names} goes with --mode training")
    if "frozen" in said:
        said["frozen"] = tuple(said["frozen"])
    return said


def run(
    wanted: Sequence[tuple[str, Mapping[str, Any]]],
    choices: Mapping[str, Any],
    how: Settings,
    load: Callable[[str, Mapping[str, Any]], Task],
    keep: Path | None,
    json_file: Path | None,
) -> int:
    """Check training of each network, print what came out, and return the exit code.

    Raises:
        InputError: something given can't be used.
    """
    for name, chosen in wanted:  # what can't be used is refused before any work
        make_trial(name, catalogue.network(name).resolve(chosen), **choices)
    results = []
    for number, (name, chosen) in enumerate(wanted, 1):
        title = f"[{number}/{len(wanted)}] {name}  " if len(wanted) > 1 else ""
        place = keep / f"{number:02d}-{name}" if keep and len(wanted) > 1 else keep
        with progress(title) as say:
            say("weights and images")
            task = load(name, chosen)
            trial = make_trial(name, task.weights.options, **choices)
            results.append(check_training(task, trial, how, place, say))
        report.show(out, results[-1])
        if place is not None:
            out.print(f"traces: {place}", highlight=False, soft_wrap=True)
    found = report.record(results)
    if json_file is not None:
        files.write_whole(json_file, record.dumps(found).encode())
    return int(found["exit_code"])
