"""The commands `run` and `compare`: a trace made here, perhaps compared elsewhere."""

from __future__ import annotations

from pathlib import Path

import typer

from .. import errors, files
from ..checking import runner as checks
from ..comparison import floors
from ..comparison.comparing import UNJUDGED, require_same_task
from ..comparison.comparing import compare as compare_traces
from ..conversion.named import shared_weights
from ..diagnosis.traces import diagnose_trace
from ..errors import InputError
from ..files import require_writable
from ..networks import catalogue
from ..numerics import UNIT_ROUNDOFF
from ..report import page as pages
from ..report import record, terminal
from ..traces import seeding
from ..traces.trace import Trace
from ..traces.weights import SharedWeights
from . import err, out, print_json, print_line, progress, stop
from .arguments import require_dtype
from .option_groups import command
from .options import InputOptions, WorkerOptions


@command("run")
def run_command(
    network: str,
    backend: str,
    folder: Path,
    given: InputOptions,
    workers: WorkerOptions,
    dtype: str = "float64",
    onnx: Path | None = None,
) -> None:
    """Run a network in one backend, and keep its trace.

    Example:

        inception-parity run googlenet --backend pt --out traces/pt
    """
    catalogue.backend(backend)
    require_dtype(dtype)
    settings = workers.settings((backend,), (dtype,), onnx)
    files.refuse_full(folder)
    task = given.task(network, given.options(), onnx)
    with progress() as say:
        outcome = checks.run_one(task, settings, folder, say)
    if outcome.status != "ok" or outcome.unsupported:
        message = outcome.message or next(iter(outcome.unsupported.values()))
        stop(f"{backend}  {outcome.status}: {message}", errors.BROKEN)
    trace = Trace.read(folder)
    print_line(f"{folder}: {len(trace.endpoints)} endpoints, {trace.seconds:.1f} s")


@command("compare")
def compare_command(
    trace: Path,
    reference: Path,
    as_json: bool = False,
    weights: Path | None = None,
    seed: int = 0,
    page: Path | None = None,
) -> None:
    """Compare two kept traces, endpoint by endpoint, and look for the cause.

    The cause can only be found with the weights of the run: seeded ones, or a file of
    them. A float32 trace is judged only if a `check` of the same run has measured its
    noise floors on this machine; otherwise its differences are shown and not judged.

    Example:

        inception-parity compare traces/pt traces/oracle --report page.html
    """
    if page is not None:
        require_writable(page)
    ours, theirs = Trace.read(trace), Trace.read(reference)
    for one in (ours, theirs):
        one.verify()
    require_same_task(ours, theirs)
    _require_reference(ours, theirs)
    known = None
    if ours.run.dtype != "float64":
        known = floors.cached(floors.key(theirs.run.task(), ours.run.dtype))
    report = compare_traces(ours, theirs, known)
    diagnosis = None
    is_oracle = theirs.run.backend == catalogue.ORACLE and theirs.run.mode == "propagated"
    if report.fails and is_oracle:
        shared = _weights_of(theirs, weights, seed)
        if shared is not None:
            diagnosis = diagnose_trace(report, ours, theirs, shared.arrays, known)
        elif not as_json:
            err.print("To find the cause, give the run's weights with --weights or --seed.")
    if page is not None:
        again = ["inception-parity", "compare", str(trace), str(reference)]
        again += ["--weights", str(weights)] if weights else ["--seed", str(seed)]
        with progress() as say:
            pages.write(page, [pages.of_traces(report, ours, theirs, again, diagnosis, say)])
    if as_json:
        print_json(record.report_record(report, diagnosis))
    else:
        terminal.show_report(out, report, diagnosis)
        if report.verdict == UNJUDGED:
            out.print("Not judged: this machine has no noise floors of this run; `check` it first.")
        if page is not None:
            print_line(f"page: {page}")
    raise typer.Exit(errors.DIVERGE if report.fails else errors.AGREE)


def _weights_of(trace: Trace, file: Path | None, seed: int) -> SharedWeights | None:
    """Return the weights of a trace's run, if they are those of the file or the seed.

    Raises:
        InputError: a file was given, and holds others.
    """
    run = trace.run
    if file is None:
        shared = seeding.seeded(run.network, run.options, seed)
        return shared if shared.sha256 == run.weights else None
    shared = shared_weights(file)
    if shared.sha256 != run.weights:
        raise InputError(f"{file}: not the weights of {trace.folder}; give those of that run")
    return shared


def _require_reference(trace: Trace, reference: Trace) -> None:
    """Raise InputError unless `reference` is something to compare `trace` with."""
    ours, theirs = trace.run, reference.run
    for one in (trace, reference):
        if one.run.mode == "training":
            raise InputError(
                f"{one.folder}: a trace of training, which only `check-training` can judge, "
                "with the others of its run"
            )
    if UNIT_ROUNDOFF[theirs.dtype] > UNIT_ROUNDOFF[ours.dtype]:
        raise InputError(
            f"{reference.folder}: in {theirs.dtype}, too coarse to judge {ours.dtype} by; "
            "swap the two"
        )
    if theirs.mode == "isolated" != ours.mode:
        raise InputError(
            f"{reference.folder}: an isolated run, where every layer was given the oracle's input; "
            f"only another isolated run can be compared with it, but {trace.folder} is a "
            "propagated one"
        )
