"""Networks as ONNX files."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .. import errors
from ..checking import runner as checks
from ..checking.task import Settings, Task
from ..errors import InputError
from ..files import require_writable, write_whole
from ..networks import catalogue
from ..onnx import writing
from ..report import terminal
from . import (
    Batch,
    ImagesPath,
    NetworkName,
    Pythons,
    Seed,
    Set,
    SizeText,
    Timeout,
    WeightsFile,
    app,
    err,
    out,
    progress,
    words,
)
from .arguments import parse_settings
from .checking import settings_of, task_of


@app.command("export")
def export_command(
    network: NetworkName,
    file: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    size: SizeText = None,
    settings: Set = None,
    weights_file: WeightsFile = None,
    seed: Seed = 0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the file before it is put in its place.")
    ] = False,
    backends: Annotated[
        str | None,
        typer.Option(help="With --verify, those to run beside the file; by default all installed."),
    ] = None,
    image_path: ImagesPath = None,
    batch: Batch = None,
    pythons: Pythons = None,
    timeout: Timeout = 600,
) -> None:
    """Write a network as an ONNX file, with all weights under their shared names.

    The batch is free, the size of the images is fixed. With --verify the file and the
    frameworks are run on images and compared with the oracle; unless all of them agree with
    it, no file is left.
    """
    if backends is not None and not verify:
        raise InputError("--backends says what runs beside the file with --verify; add that")
    beside = catalogue.installed_backends() if backends is None else words(backends)
    both = settings_of([*beside, "onnx"], ["float64", "float32"], "cpu", pythons, timeout)
    require_writable(file)
    task = task_of(network, parse_settings(settings), weights_file, seed, image_path, size, batch)
    with tempfile.TemporaryDirectory(prefix="inception-parity-") as folder:
        made = Path(folder) / "model.onnx"
        writing.write(task.weights, task.size, made)
        if verify:
            writing.note(made, "verified", _verified(task, replace(both, onnx=made)))
        write_whole(file, made.read_bytes())
    _say(file, task, verify)


def _verified(task: Task, settings: Settings) -> str:
    """Check the file beside the frameworks' networks; return what was found, in a line."""
    with progress() as say:
        result = checks.check(task, settings, None, say)
    terminal.show(out, result)
    if result.exit_code != errors.AGREE:
        err.print("Not all of them compute what the oracle does; the file was not written.")
        raise typer.Exit(result.exit_code)
    worst = {
        report.dtype: report.tolerance
        for report in result.reports
        if report.backend == "onnx" and report.mode == "propagated"
    }
    found = ", ".join(f"{dtype} within {error:.1e}" for dtype, error in worst.items())
    return f"{len(task.images)} images, all endpoints against the oracle: {found}"


def _say(file: Path, task: Task, verified: bool) -> None:
    channels, (height, width) = task.weights.options["in_channels"], task.size
    out.print(
        f"{file}: opset {writing.OPSET}, IR version {writing.IR_VERSION}, "
        f"images {writing.BATCH} x {channels} x {height} x {width}, "
        f"{len(task.weights.arrays)} initialisers, sha256 {task.weights.sha256}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if not verified:
        out.print("Not verified; --verify does that, or `check --backends onnx --onnx FILE`.")
