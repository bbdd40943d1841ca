"""Networks as ONNX files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from .. import errors
from ..checking import runner as checks
from ..checking.task import Settings, Task
from ..errors import InputError
from ..files import require_writable, write_whole
from ..networks import catalogue
from ..onnx import exporters, model_file
from ..report import terminal
from . import err, out, print_line, progress, stop
from .option_groups import command
from .options import InputOptions, NetworkName, Pythons, Timeout, WorkerOptions


@command("export")
def export_command(
    network: NetworkName,
    backend: Annotated[str, Option(help="Whose network: `pt`, `tf` or `mx`.")],
    file: Annotated[Path, Option("--out", help="The ONNX file to write.")],
    given: InputOptions,
    verify: bool = Option(False, "--verify", help="Check the file before it is put in its place."),
    pythons: Pythons = None,
    timeout: Timeout = 600,
) -> None:
    """Write a network as an ONNX file, with all weights under their shared names.

    The batch is free, the size of the images is fixed. With --verify the backend and
    the file are run on images and held against the oracle; unless both agree with
    it, no file is left.

    Example:

        inception-parity export googlenet --backend pt --verify --out googlenet.onnx
    """
    if backend not in exporters.BACKENDS:
        catalogue.backend(backend)
        raise InputError(f"{backend} isn't exported; one of {', '.join(exporters.BACKENDS)} is")
    settings = WorkerOptions("cpu", pythons, timeout).settings((backend,), ("float32",))
    require_writable(file)
    task = given.task(network, given.options())
    with tempfile.TemporaryDirectory(prefix="inception-parity-") as folder:
        made = Path(folder) / "model.onnx"
        with progress() as say:
            outcome = checks.export_one(task, settings, made, say)
        if outcome.status != "ok":
            stop(f"{backend}  {outcome.status}: {outcome.message}", errors.BROKEN)
        if verify:
            model_file.note(made, "verified", _verified(task, settings, made))
        write_whole(file, made.read_bytes())
    _say(file, task, verify)


def _verified(task: Task, settings: Settings, made: Path) -> str:
    """Check the file beside the network it was made from; return what was found, in a line."""
    (backend,) = settings.backends
    both = Settings(
        (backend, "onnx"), ("float64", "float32"), "cpu", settings.pythons, settings.timeout, made
    )
    with progress() as say:
        result = checks.check(task, both, None, say)
    terminal.show(out, result)
    if result.exit_code != errors.AGREE:
        err.print("The file doesn't compute what the network does; it was not written.")
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
    print_line(
        f"{file}: opset {model_file.OPSET}, IR version {model_file.IR_VERSION}, "
        f"images {model_file.BATCH} x {channels} x {height} x {width}, "
        f"{len(task.weights.arrays)} initialisers, sha256 {task.weights.sha256}"
    )
    if not verified:
        out.print("Not verified; --verify does that, or `check --backends onnx --onnx FILE`.")
