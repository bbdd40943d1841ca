"""The command `compare-models`: anybody's two models, layer by layer."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

from .. import errors, files
from ..errors import InputError
from ..models.steps.plan import MODES, StepOptions
from ..tensors import compare_tensors, is_source, tensors_of
from . import err, out, progress, write_json
from .model_arguments import attribute, build, parse_match
from .model_inputs import parse_input, parse_inputs
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

    inputs: list[str] | None = None
    size: str = "224"

    def arrays(self) -> Any:
        """Return them as `capture` takes them."""
        return parse_inputs(self.inputs or [], self.size)


@dataclass(frozen=True)
class Comparing:
    """How two models are compared."""

    dtype: str | None = None
    match: list[str] | None = None
    copy_weights: bool = False
    layout_a: str | None = None
    layout_b: str | None = None
    map_file: Path | None = None

    def require_usable(self, arrays: bool) -> None:
        """Raise InputError unless the mapping can be written."""
        if self.map_file is None:
            return
        if arrays:
            raise InputError("--map is for two models, which have weights of known meaning")
        if self.map_file.suffix not in (".json", ".py"):
            raise InputError(
                f"--map {self.map_file}: should end in .json, a table, or .py, a function"
            )
        files.require_writable(self.map_file)


@dataclass(frozen=True)
class Training:
    """What both models are trained with, for one step."""

    mode: str = MODES[0]
    loss: str | None = None
    loss_b: str | None = None
    target: Path | None = None
    label_smoothing: float | None = None
    optimizer: str | None = None
    optimizer_b: str | None = None
    lr: float | None = None

    def require_usable(self, reports: Reports, kept: bool) -> None:
        """Raise InputError unless what is given belongs to the mode."""
        if self.mode not in MODES:
            raise InputError(f"--mode {self.mode}, but should be one of {', '.join(MODES)}")
        given = [f"--{k.replace('_', '-')}" for k, v in vars(self).items()
                 if k != "mode" and v is not None]  # fmt: skip
        if self.mode != "training":
            if given:
                raise InputError(f"{given[0]} is for --mode training")
            return
        if kept:
            raise InputError(
                "--mode training needs both models themselves, and not arrays or kept traces"
            )
        if reports.page is not None:
            raise InputError("--report has no page of a training step; use --json")

    def options(self) -> StepOptions | None:
        """Return them as `compare` takes them.

        Raises:
            InputError: something can't be used, or no such function is found.
        """
        if self.mode != "training":
            return None
        given: dict[str, Any] = {
            "targets": None if self.target is None else parse_input(str(self.target), "224"),
            "label_smoothing": self.label_smoothing or 0.0,
            "lr": self.lr,
        }
        for name in ("loss", "loss_b", "optimizer", "optimizer_b"):
            text = getattr(self, name)
            if text is not None:
                given[name] = attribute(text) if ":" in text else text
        made = StepOptions(**given)
        made.losses()
        made.optimizers()
        return made


@command("compare-models")
def compare_models(
    a: str,
    b: str,
    inputs: ModelInputs,
    options: Comparing,
    reports: Reports,
    training: Training,
    show_match: bool = False,
) -> None:
    """Compare a model with the one that it was made from: any two, of any framework.

    Or two files of arrays (.npz, .safetensors, a folder of .npy), from whatever made them.

    Layers are matched by what they are, by their place in the graph and by their values, arrays
    by their names, values and order. Exit code 0: all outputs and matched layers agree. 1: they
    differ. 2: bad usage or input.

    With --mode training both are also trained for one step, with dropout switched off: the loss,
    gradients, running statistics and the weights after the step have to agree too.

    Example:

        inception-parity compare-models original.py:net port.py:net --input 1x3x96x96
    """
    from ..models import ModelTrace, compare, weight_map
    from ..report.models import model_record, sheet_of

    reports.require_writable()
    match = parse_match(options.match or [])
    options.require_usable(is_source(a) or is_source(b))
    kept = [_trace_folder(text) for text in (a, b)]
    traces = any(kept) or is_source(a) or is_source(b)
    training.require_usable(reports, traces)
    if is_source(a) or is_source(b):
        _compare_tensors(a, b, inputs, options, reports, show_match)
    arrays = inputs.arrays() if None in kept else None
    _set_environment()
    with progress() as say:
        models = []
        for text, folder in zip((a, b), kept, strict=True):
            say(f"building {text}")
            models.append(build(text) if folder is None else ModelTrace.read(folder))
        made = compare(
            models[0], models[1], arrays, match=match, dtype=options.dtype,
            layout_a=options.layout_a, layout_b=options.layout_b,
            copy_weights=options.copy_weights, mode=training.mode, step=training.options(),
            progress=say,
        )  # fmt: skip
        if reports.page is not None:
            from ..report import page

            sheet = sheet_of(made, ["inception-parity", *sys.argv[1:]], say)
            page.write(reports.page, [sheet])
    made.show(out, show_match)
    code = errors.DIVERGE if made.fails else errors.AGREE
    write_json(reports.json, model_record(made, code))
    if options.map_file is not None:
        weight_map(made, *models).write(options.map_file)
    if reports.keep is not None:
        _keep(reports.keep, made)
    raise typer.Exit(code)


def _compare_tensors(
    a: str, b: str, inputs: ModelInputs, options: Comparing, reports: Reports, show_match: bool
) -> NoReturn:
    """Compare files of named arrays; one of the two may be a model, or a kept trace of one."""
    from ..models import ModelTrace, capture

    unused = {
        "--report": reports.page, "--keep": reports.keep,
        "--copy-weights": options.copy_weights or None,
    }  # fmt: skip
    for flag, value in unused.items():
        if value is not None:
            raise InputError(f"{flag} is for two models, but {a if is_source(a) else b} has arrays")
    sources: list[Any] = []
    for text, layout in ((a, options.layout_a), (b, options.layout_b)):
        if is_source(text):
            sources.append(Path(text))
            continue
        folder = _trace_folder(text)
        if folder is not None:
            trace = ModelTrace.read(folder)
        else:
            arrays = inputs.arrays()
            _set_environment()
            trace = capture(build(text), arrays, dtype=options.dtype, layout=layout)
        found = {name: trace.array(name) for name, e in trace.endpoints.items() if e.leaf}
        sources.append(tensors_of(found, trace.run.network))
    first, second = sources
    made = compare_tensors(first, second, parse_match(options.match or []))
    made.show(out, show_match)
    code = errors.DIVERGE if made.fails else errors.AGREE
    write_json(reports.json, made.record(code))
    raise typer.Exit(code)


def _set_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _trace_folder(text: str) -> Path | None:
    folder = Path(text)
    return folder if (folder / "trace.json").is_file() else None


def _keep(keep: Path, made: Any) -> None:
    """Copy both traces to `keep`, which appears whole."""
    with files.work_folder(keep) as folder:
        for name, trace in (("a", made.a), ("b", made.b)):
            shutil.copytree(trace.folder, folder / name)
        files.settle(folder, keep)
    err.print(f"traces: {keep / 'a'}, {keep / 'b'}")
