"""The command `evaluate`: a trained network on test images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from .. import errors
from ..data import datasets
from ..data.feed import DataSet
from ..errors import InputError
from ..networks import catalogue
from ..report import bars
from ..traces import weights
from ..training import checkpoint
from ..training import loop as trains
from ..training.checkpoint import Checkpoint, Position
from . import err, out, print_json, print_line
from .option_groups import command
from .plans import (
    DataOptions,
    given,
    load_same,
    plan_of,
    sides,
)


@dataclass(frozen=True)
class TestOptions:
    """How a network is tested."""

    size: str | None = None
    pixels: str | None = None
    batch: int | None = None
    threads: int | None = None
    device: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields of a plan's record that were given."""
        named = {name: value for name, value in vars(self).items() if name != "size"}
        return {**sides(self.size), **given(**named)}


@command("evaluate")
def evaluate_command(
    trained: Path,
    data: DataOptions,
    options: TestOptions,
    backend: str | None = None,
    test_images: int | None = None,
    as_json: bool = False,
) -> None:
    """Test a trained network in any backend, whichever trained it.

    A checkpoint knows its data, size and pixels. A file of shared weights doesn't: give --data,
    and the --size and --pixels that it was trained with. Tests are in float32, on the test images
    in their own order, so all backends agree except where two classes are closer than float32
    can tell.

    Example:

        inception-parity evaluate runs/d2l --backend mx
    """
    watch = bars.ProgressWatch(out, err)
    start, found = _trained(trained, data, watch, options.given())
    plan, position = start.plan, start.position
    found = found.limited(None, test_images)
    name = backend or plan.backend
    if name not in catalogue.default_backends():
        catalogue.backend(name)
        raise InputError(f"--backend {name} can't test; give one of the frameworks: pt, tf or mx")
    try:
        with watch.heeding():
            loss, right = trains.test(plan, name, start.weights, found, watch)
    except trains.StoppedError:
        raise typer.Exit(errors.INTERRUPTED) from None
    accuracy = right / len(found.test)
    if as_json:
        result = {
            "network": plan.network, "options": plan.options, "backend": name,
            "data": found.name, "steps": position.steps, "test_loss": loss, "test_right": right,
            "test_images": len(found.test), "test_accuracy": accuracy,
        }  # fmt: skip
        print_json(result)
        return
    print_line(
        f"{plan.network} in {catalogue.BACKENDS[name].title}: test accuracy {accuracy:.4f} "
        f"({right:,} of {len(found.test):,}), loss {loss:.6f}"
    )


def _trained(
    path: Path, asked: DataOptions, watch: bars.ProgressWatch, changed: dict[str, Any]
) -> tuple[Checkpoint, DataSet]:
    """Return what was trained, as a checkpoint with `changed` fields, and its test data."""
    if path.is_dir() or checkpoint.is_checkpoint(path):
        start = checkpoint.read(path)
        if asked.data is None:
            found = load_same(start.plan, asked, watch.say)
        else:
            found = datasets.load(asked.data, asked.data_folder, watch.say)
        return replace(start, plan=start.plan.changed(**changed)), found
    if asked.data is None:
        raise InputError(f"{path}: a weight file doesn't say what it was trained on; give --data")
    shared = weights.read(path)
    found = datasets.load(asked.data, asked.data_folder, watch.say)
    plan = plan_of(shared.network, dict(shared.options), found, **changed)
    return Checkpoint(plan, Position(), shared.arrays, {}), found
