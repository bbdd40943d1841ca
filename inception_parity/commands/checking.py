"""Running networks, and comparing what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .. import errors, files
from ..checking import runner as checks
from ..checking.result import CheckResult
from ..checking.task import Cell, Settings, Task, make_task
from ..comparison import floors
from ..comparison.comparing import UNJUDGED, require_same_task
from ..comparison.comparing import compare as compare_traces
from ..data import images
from ..data.images import parse_size
from ..diagnosis.traces import diagnose_trace
from ..errors import InputError, nearest
from ..files import require_writable
from ..networks import catalogue
from ..numerics import UNIT_ROUNDOFF
from ..onnx import reading
from ..report import junit, page, record, terminal
from ..report.sheet import Sheet
from ..traces import seeding, weights
from ..traces.trace import Trace
from . import (
    Batch,
    Device,
    ImagesPath,
    Json,
    NetworkName,
    OnnxFile,
    PageFile,
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
    training_mode,
    words,
)
from .arguments import parse_pythons, parse_settings


@app.command("run")
def run_command(
    network: NetworkName,
    backend: Annotated[str, typer.Option(help="`np`, `pt`, `tf`, `mx` or `onnx`.")],
    folder: Annotated[Path, typer.Option("--out", help="The trace's folder, to be made.")],
    dtype: Annotated[str, typer.Option(help="`float64`, `float32`, …")] = "float64",
    device: Device = "cpu",
    size: SizeText = None,
    batch: Batch = None,
    settings: Set = None,
    image_path: ImagesPath = None,
    weights_file: WeightsFile = None,
    seed: Seed = 0,
    onnx_file: OnnxFile = None,
    pythons: Pythons = None,
    timeout: Timeout = 600,
) -> None:
    """Run a network in one backend, and keep its trace."""
    how = settings_of([backend], [dtype], device, pythons, timeout, onnx_file, oracle=True)
    files.refuse_full(folder)
    chosen = parse_settings(settings)
    task = task_of(network, chosen, weights_file, seed, image_path, size, batch, onnx_file)
    with progress() as say:
        outcome = checks.run_one(task, how, folder, say)
    if outcome.status != "ok" or outcome.unsupported:
        message = outcome.message or next(iter(outcome.unsupported.values()))
        err.print(Text(f"{backend}  {outcome.status}: {message}", style="yellow"))
        raise typer.Exit(errors.BROKEN)
    trace = Trace.read(folder)
    said = f"{folder}: {len(trace.endpoints)} endpoints, {trace.seconds:.1f} s"
    out.print(said, highlight=False, soft_wrap=True)


@app.command("compare")
def compare_command(
    trace: Annotated[Path, typer.Argument(help="The folder of a kept trace.")],
    reference: Annotated[Path, typer.Argument(help="What to hold it against; the oracle's, best.")],
    as_json: Json = False,
    weights_file: WeightsFile = None,
    seed: Seed = 0,
    page_file: PageFile = None,
) -> None:
    """Compare two kept traces, endpoint by endpoint, and look for the cause.

    The cause needs the weights of the run: seeded ones, or those given. A float32
    trace is judged only where this machine has measured the noise floors of the
    same run, in a `check`; otherwise it is shown.
    """
    if page_file is not None:
        require_writable(page_file)
    ours, theirs = Trace.read(trace), Trace.read(reference)
    for one in (ours, theirs):
        one.verify()
    require_same_task(ours, theirs)
    _require_reference(ours, theirs)
    known = None
    if ours.run.dtype != "float64":
        known = floors.cached(floors.key(theirs.run.task(), ours.run.dtype))
    report = compare_traces(ours, theirs, known)
    if report.fails and theirs.run.backend == catalogue.ORACLE:
        shared = _weights_of(theirs, weights_file, seed)
        if shared is not None:
            report.diagnosis = diagnose_trace(report, ours, theirs, shared.arrays, known)
        elif not as_json:
            err.print("For the cause, give the run's weights with --weights or --seed.")
    if page_file is not None:
        command = ["inception-parity", "compare", str(trace), str(reference)]
        command += ["--weights", str(weights_file)] if weights_file else ["--seed", str(seed)]
        with progress() as say:
            page.write(page_file, [page.of_traces(report, ours, theirs, command, say)])
    if as_json:
        print(record.dumps(record.report_record(report)), end="")
    else:
        terminal.show_report(out, report)
        if report.verdict == UNJUDGED:
            out.print("Not judged: this machine has no noise floors of this run; `check` it first.")
        if page_file is not None:
            out.print(f"page: {page_file}", highlight=False, soft_wrap=True)
    raise typer.Exit(errors.DIVERGE if report.fails else errors.AGREE)


@app.command("check")
def check_command(
    network: Annotated[
        list[str] | None, typer.Argument(help="Networks; default: googlenet.")
    ] = None,
    backends: Annotated[
        str | None, typer.Option(help="Backends, with commas; by default pt,tf,mx.")
    ] = None,
    dtypes: Annotated[str, typer.Option(help="Dtypes, with commas.")] = "float64,float32",
    device: Device = "cpu",
    size: SizeText = None,
    batch: Batch = None,
    settings: Set = None,
    image_path: ImagesPath = None,
    weights_file: WeightsFile = None,
    seed: Seed = 0,
    onnx_file: OnnxFile = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write a report there.")] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", help="Write a report there, as JUnit's XML.")
    ] = None,
    page_file: PageFile = None,
    pythons: Pythons = None,
    timeout: Timeout = 600,
    keep: Annotated[Path | None, typer.Option(help="A folder for all traces, to be made.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every network, with each of its notable options.")
    ] = False,
    mode: Annotated[str, typer.Option(help="`inference`, or `training` for a few steps.")] = (
        "inference"
    ),
    optimizer: training_mode.Optimizer = None,
    lr: training_mode.Lr = None,
    steps: training_mode.Steps = None,
    freeze: training_mode.Freeze = None,
) -> None:
    """Check that backends agree with the float64 oracle, at every endpoint.

    With `--mode training` they train: losses, gradients, batch norm's statistics and
    the weights after one and after all steps are compared. `--batch` is then the
    images in a step, 4 by default.

    Exit code 0: all agree. 1: something diverges. 2: bad usage or input.
    3: a backend that was asked for is missing, crashed or timed out, or nothing
    could be run.
    """
    if backends is None and not catalogue.mxnet_has_wheel():
        err.print("MXNet has no wheel for this platform and Python; checking the others.")
    asked = catalogue.default_backends() if backends is None else words(backends)
    if backends is None and onnx_file is not None:
        asked = (*asked, "onnx")
    how = settings_of(list(asked), words(dtypes), device, pythons, timeout, onnx_file)
    wanted = _wanted(network, settings, weights_file, onnx_file, everything)
    for file in (json_file, junit_file, page_file):
        if file is not None:
            require_writable(file)
    if keep is not None:
        files.refuse_full(keep)
    given = training_mode.given(mode, optimizer=optimizer, lr=lr, steps=steps, frozen=freeze)
    if mode == "training":
        if junit_file is not None or page_file is not None:
            raise InputError("--mode training writes no JUnit file and no page; leave them out")
        if "onnx" in how.backends:
            raise InputError("an ONNX file can't be trained; leave --onnx and that backend out")
        every = len(images.photographs()) if image_path is None else None

        def load(name: str, chosen: Mapping[str, Any]) -> Task:
            return task_of(name, chosen, weights_file, seed, image_path, size, every)

        batch_size = {} if batch is None else {"batch": batch}
        code = training_mode.run(wanted, {**given, **batch_size}, how, load, keep, json_file)
        raise typer.Exit(code)
    results: list[CheckResult] = []
    sheets: list[Sheet] = []
    for number, (name, chosen) in enumerate(wanted, 1):
        title = f"[{number}/{len(wanted)}] {name}  " if len(wanted) > 1 else ""
        place = keep / f"{number:02d}-{name}" if keep and len(wanted) > 1 else keep
        with progress(title) as say:
            say("weights and images")
            task = task_of(name, chosen, weights_file, seed, image_path, size, batch, onnx_file)
            source = _source(chosen, weights_file, seed, image_path)
            look = _drawing(sheets, [name, *source], len(wanted) == 1, say)
            results.append(checks.check(task, how, place, say, look if page_file else None))
        if everything:
            terminal.show_failures(out, results[-1])
        else:
            terminal.show(out, results[-1])
        if place is not None:
            out.print(f"traces: {place}", highlight=False, soft_wrap=True)
    if everything:
        terminal.show_matrix(out, results)
    _write(results, sheets, json_file, junit_file, page_file)
    raise typer.Exit(record.exit_code(results))


def _wanted(
    networks: list[str] | None, settings: list[str] | None, weights_file: Path | None,
    onnx_file: Path | None, everything: bool,
) -> list[tuple[str, Mapping[str, Any]]]:  # fmt: skip
    """Return the networks to check, each with the options that were given."""
    if everything and (networks or settings or weights_file or onnx_file):
        raise InputError("--all goes with no network, --set, --weights or --onnx of its own")
    if onnx_file is not None and len(networks or ()) > 1:
        raise InputError("--onnx goes with one network, the one that the file is")
    if onnx_file is not None and not networks:
        networks = [reading.describe(onnx_file).network]
    if weights_file is not None and len(networks or ()) > 1:
        raise InputError("--weights goes with one network, whose weights they are")
    wanted: list[tuple[str, Mapping[str, Any]]] = [
        (name, parse_settings(settings)) for name in dict.fromkeys(networks or ["googlenet"])
    ]
    if everything:
        wanted = [(n.name, v) for n in catalogue.NETWORKS.values() for v in n.variants]
    for name, chosen in wanted:  # what can't be used is refused before any work
        catalogue.network(name).resolve(chosen)
    return wanted


def _write(
    results: list[CheckResult], sheets: list[Sheet], json_file: Path | None,
    junit_file: Path | None, page_file: Path | None,
) -> None:  # fmt: skip
    """Write the reports that were asked for."""
    if json_file is not None:
        files.write_whole(json_file, record.dumps(record.record(results)).encode())
    if junit_file is not None:
        files.write_whole(junit_file, junit.dumps(results).encode())
    if page_file is not None:
        page.write(page_file, sheets)
        out.print(f"page: {page_file}", highlight=False, soft_wrap=True)


def _source(
    settings: Mapping[str, Any], weights_file: Path | None, seed: int, image_path: Path | None
) -> list[str]:
    """Return the words that give a check its network's options, weights and images again."""
    given = [word for k, v in settings.items() for word in ("--set", f"{k}={str(v).lower()}")]
    given += ["--weights", str(weights_file)] if weights_file else ["--seed", str(seed)]
    return given + (["--images", str(image_path)] if image_path else [])


def _drawing(
    sheets: list[Sheet], words: list[str], every_picture: bool, say: Callable[[str], None]
) -> Callable[[CheckResult, Trace, Mapping[Cell, Trace]], None]:
    """Return what draws a check for the page; `words` name its network and what it was given."""

    def look(result: CheckResult, oracle: Trace, traces: Mapping[Cell, Trace]) -> None:
        how, (height, width) = result.settings, result.subject.size
        command = [
            "inception-parity", "check", *words, "--size", f"{height}x{width}",
            "--batch", str(len(result.subject.image_names)), "--backends", ",".join(how.backends),
            "--dtypes", ",".join(how.dtypes), "--device", how.device,
        ]  # fmt: skip
        for backend, python in how.pythons.items():
            command += ["--python", f"{backend}={python}"]
        sheets.append(page.of_check(result, oracle, traces, command, every_picture, say))

    return look


def task_of(
    name: str, settings: Mapping[str, Any], weights_file: Path | None, seed: int,
    image_path: Path | None, size: str | None, batch: int | None, onnx_file: Path | None = None,
) -> Task:  # fmt: skip
    """Load what every backend will be given, and refuse what can't be used.

    The weights are those of `weights_file`, else of `onnx_file`, else seeded.
    """
    network = catalogue.network(name)
    resolved = network.resolve(settings)
    height_width = network.size if size is None else parse_size(size)
    shared, where = None, weights_file
    if onnx_file is not None:
        shared, description = reading.read(onnx_file)
        if size is not None and height_width != description.size:
            stated = "x".join(map(str, description.size))
            raise InputError(f"{onnx_file}: takes images of {stated}; leave out --size")
        height_width, where = description.size, onnx_file
    if weights_file is not None:
        shared, where = weights.read(weights_file), weights_file
    if shared is None:
        shared = seeding.seeded(name, resolved, seed)
    else:
        shared.require(name, {k: resolved[k] for k in settings}, str(where))
    files = None if image_path is None else images.find(image_path)
    return make_task(shared, files, height_width, batch)


def _weights_of(trace: Trace, file: Path | None, seed: int) -> weights.SharedWeights | None:
    """Return the weights of a trace's run, if they are those of the file or the seed.

    Raises:
        InputError: a file was given, and holds others.
    """
    run = trace.run
    if file is None:
        shared = seeding.seeded(run.network, run.options, seed)
        return shared if shared.sha256 == run.weights else None
    shared = weights.read(file)
    if shared.sha256 != run.weights:
        raise InputError(f"{file}: not the weights of {trace.folder}; give those of that run")
    return shared


def settings_of(
    backends: list[str], dtypes: list[str], device: str, pythons: list[str] | None,
    timeout: float, onnx_file: Path | None = None, oracle: bool = False,
) -> Settings:  # fmt: skip
    """Hold together how it is run, and refuse what can't be."""
    if onnx_file is not None and "onnx" not in backends:
        raise InputError("--onnx is for the backend onnx, which isn't among those asked for")
    for name, given in (("backends", backends), ("dtypes", dtypes)):
        if not given:
            raise InputError(f"--{name} names none; leave it out for the default")
    for backend in backends:
        catalogue.backend(backend)
        if backend == catalogue.ORACLE and not oracle:
            raise InputError("np is the oracle: it always runs, and isn't checked against itself")
    for dtype in dtypes:
        if dtype not in catalogue.DTYPES:
            raise InputError(
                f"no dtype {dtype!r}{nearest(dtype, catalogue.DTYPES)}; "
                f"there are: {', '.join(catalogue.DTYPES)}"
            )
    if device not in ("cpu", "gpu"):
        raise InputError(f"device {device!r}, but should be cpu or gpu")
    if not timeout > 0:  # NaN isn't either
        raise InputError(f"timeout {timeout:g}, but should be more than 0 seconds")
    unique = tuple(dict.fromkeys(backends)), tuple(dict.fromkeys(dtypes))
    return Settings(*unique, device, parse_pythons(pythons, backends), timeout, onnx_file)


def _require_reference(trace: Trace, reference: Trace) -> None:
    """Raise InputError unless `reference` is something to hold `trace` against."""
    ours, theirs = trace.run, reference.run
    for one in (trace, reference):
        if one.run.mode == "training":
            raise InputError(
                f"{one.folder}: a trace of training, which is judged by `check --mode training` "
                "beside the others of its run"
            )
    if UNIT_ROUNDOFF[theirs.dtype] > UNIT_ROUNDOFF[ours.dtype]:
        raise InputError(
            f"{reference.folder}: in {theirs.dtype}, too coarse to judge {ours.dtype} by; "
            "exchange the two"
        )
    if theirs.mode != "propagated":
        raise InputError(
            f"{reference.folder}: an isolated run, but the reference should be a propagated one"
        )
