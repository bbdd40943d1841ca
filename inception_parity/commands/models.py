"""The command `compare-models`: anybody's two models, layer by layer."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from .. import errors, files
from ..errors import InputError
from ..report import record
from . import err, out, progress
from .model_arguments import build, parse_input, parse_match
from .option_groups import command
from .options import Reports

# Read when a framework is loaded, which a builder does: quiet, in the order of the source,
# and in full precision.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "MXNET_ENGINE_TYPE": "NaiveEngine",
    "NVIDIA_TF32_OVERRIDE": "0",
}


@dataclass(frozen=True)
class ModelInputs:
    """What both models are fed."""

    inputs: list[str] | None = Option(
        None,
        "--input",
        help="What both are fed: a shape for random numbers, `1x3x96x96` (NxCxHxW); an image "
        "or a folder of images; `photographs`: those of this package; or an .npy file. "
        "Repeatable, for models that take several.",
    )
    size: str = Option("224", help="Size of images: `224`, or `224x160` (HxW).")

    def arrays(self) -> Any:
        """Return one array, or a list of several."""
        found = [parse_input(text, self.size) for text in self.inputs or []]
        if not found:
            raise InputError("no --input; give a shape, as in --input 1x3x224x224")
        return found[0] if len(found) == 1 else found


@dataclass(frozen=True)
class Comparing:
    """How two models are compared."""

    dtype: str | None = Option(
        None, help="`float64` or `float32`; by default the best that both can do."
    )
    match: list[str] | None = Option(
        None,
        help="A correction: `a=b`; `a=` or `=b` for a layer that needs no counterpart; or a "
        "JSON file of such pairs. Repeatable.",
    )
    copy_weights: bool = Option(
        False, "--copy-weights", help="Give the port the original's weights first."
    )
    layout_a: str | None = Option(
        None, help="The original's layout, `NCHW` or `NHWC`, if it isn't recognised."
    )
    layout_b: str | None = Option(None, help="The port's layout.")


@command("compare-models")
def compare_models(
    a: Annotated[
        str,
        Argument(
            help="The original: `module:name` or `file.py:name`, a model or a function that "
            "makes one; an `.onnx` file; or a folder that --keep left."
        ),
    ],
    b: Annotated[str, Argument(help="The port, likewise. It is the one that is judged.")],
    inputs: ModelInputs,
    options: Comparing,
    reports: Reports,
    show_match: bool = Option(False, "--show-match", help="Print the whole match, layer by layer."),
) -> None:
    """Compare a model with the one that it was made from: any two, of any framework.

    Layers are matched by what they are and by their place in the graph. Exit code 0: they agree.
    1: they differ, or a layer has no counterpart. 2: bad usage or input.

    Example:

        inception-parity compare-models original.py:net port.py:net --input 1x3x96x96
    """
    from ..models import ModelTrace, compare
    from ..report.models import model_record, sheet_of

    reports.require_writable()
    match = parse_match(options.match or [])
    kept = [_trace_folder(text) for text in (a, b)]
    arrays = inputs.arrays() if None in kept else None
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with progress() as say:
        models = []
        for text, folder in zip((a, b), kept, strict=True):
            say(f"building {text}")
            models.append(build(text) if folder is None else ModelTrace.read(folder))
        made = compare(
            models[0], models[1], arrays, match=match, dtype=options.dtype,
            layout_a=options.layout_a, layout_b=options.layout_b,
            copy_weights=options.copy_weights, progress=say,
        )  # fmt: skip
        if reports.page is not None:
            from ..report import page

            sheet = sheet_of(made, ["inception-parity", *sys.argv[1:]], say)
            page.write(reports.page, [sheet])
    made.show(out, show_match)
    code = errors.DIVERGE if made.fails else errors.AGREE
    if reports.json is not None:
        files.write_whole(reports.json, record.dumps(model_record(made, code)).encode())
    if reports.keep is not None:
        _keep(reports.keep, made)
    raise typer.Exit(code)


def _trace_folder(text: str) -> Path | None:
    folder = Path(text)
    return folder if (folder / "trace.json").is_file() else None


def _keep(keep: Path, made: Any) -> None:
    """Copy both traces to `keep`, which appears whole."""
    with files.work_folder(keep) as folder:
        for name, trace in (("a", made.a), ("b", made.b)):
            shutil.copytree(trace.folder, folder / name)
        files.settle(folder, keep)
    err.print(f"traces: {keep / 'a'}, {keep / 'b'}", highlight=False)
