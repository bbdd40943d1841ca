"""Networks as ONNX files."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import typer

from .. import errors
from ..checking import runner as checks
from ..checking.task import Settings, Task
from ..errors import InputError
from ..files import require_writable, write_whole
from ..networks import catalogue
from ..onnx import writing
from ..report import terminal
from . import err, out, print_line, progress
from .arguments import parse_backends
from .option_groups import command
from .options import InputOptions, WorkerOptions


@command("export")
def export_command(
    network: str,
    file: Path,
    given: InputOptions,
    verify: bool = False,
    backends: str | None = None,
    pythons: list[str] | None = None,
    timeout: float = 600,
) -> None:
    """Write a network as an ONNX file, with all weights under their shared names.

    The batch is free, the size of the images is fixed. With --verify the file and the
    backends are run on images and compared with the oracle; unless all of them agree with
    it, no file is left.

    Example:

        inception-parity export googlenet --verify --out googlenet.onnx
    """
    if backends is not None and not verify:
        raise InputError("--backends says what the file is compared with; add --verify")
    others = tuple(catalogue.installed_backends())
    if backends is not None:
        others = parse_backends(backends, "it always runs, and isn't checked against itself")
    everyone = tuple(dict.fromkeys([*others, "onnx"]))
    settings = WorkerOptions("cpu", pythons, timeout).settings(everyone, ("float64", "float32"))
    require_writable(file)
    task = given.task(network, given.options())
    with tempfile.TemporaryDirectory(prefix="inception-parity-") as folder:
        made = Path(folder) / "model.onnx"
        writing.write(task.weights, task.size, made)
        if verify:
            writing.note(made, "verified", _verified(task, replace(settings, onnx=made)))
        write_whole(file, made.read_bytes())
    channels, (height, width) = task.weights.options["in_channels"], task.size
    print_line(
        f"{file}: opset {writing.OPSET}, IR version {writing.IR_VERSION}, "
        f"images {writing.BATCH} x {channels} x {height} x {width}, "
        f"{len(task.weights.arrays)} initialisers, sha256 {task.weights.sha256}"
    )
    if not verify:
        out.print("Not verified; --verify does that, or `check --backends onnx --onnx FILE`.")


def _verified(task: Task, settings: Settings) -> str:
    """Check the file and the backends' networks; return what was found, in a line."""
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
