"""The command `inception-parity`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import __version__, catalogue, compare, floors, images, summary, weights
from . import check as checks
from .errors import InputError, OracleError, nearest
from .numerics import UNIT_ROUNDOFF
from .options import parse_pythons, parse_settings, parse_size, require_writable
from .report import record, terminal
from .trace import Trace

app = typer.Typer(
    help="Run the same Inception network in several frameworks, and prove that they agree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# Where there is no terminal to fit, tables are wide. Names of files come as they are.
out = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # that ask the command to end

NetworkName = Annotated[str, typer.Argument(help="A network; `networks` lists them.")]
SizeText = Annotated[
    str | None,
    typer.Option("--size", help="Image size: `224`, or `224x160` (HxW); by default the network's."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the network: `--set in_channels=3`. Repeatable."),
]
Seed = Annotated[int, typer.Option(help="Seed of the weights, where no file is given.")]
WeightsFile = Annotated[
    Path | None, typer.Option("--weights", help="A file of shared weights, instead of a seed.")
]
ImagesPath = Annotated[
    Path | None,
    typer.Option("--images", help="An image or a folder; by default six photographs."),
]
Batch = Annotated[
    int | None,
    typer.Option(help="How many images; by default all given, or 2 of the photographs."),
]
Device = Annotated[str, typer.Option(help="`cpu` or `gpu`.")]
Pythons = Annotated[
    list[str] | None,
    typer.Option("--python", help="Another interpreter for a backend: `mx=path/to/python`."),
]
Timeout = Annotated[float, typer.Option(help="Seconds after which a backend is given up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        out.print(f"inception-parity {__version__}", highlight=False)
        raise typer.Exit


@app.command("networks")
def networks_command(as_json: Json = False) -> None:
    """List the networks and their options."""
    if as_json:
        listed = [
            {
                "name": n.name,
                "class": n.class_name,
                "source": n.source,
                "options": {o.name: {"default": o.default, "help": o.help} for o in n.options},
            }
            for n in catalogue.NETWORKS.values()
        ]
        print(record.dumps(listed), end="")
        return
    for n in catalogue.NETWORKS.values():
        out.print(Text(n.name, style="bold").append(f"  {n.class_name}, {n.source}", style="dim"))
        for option in n.options:
            default = str(option.default).lower()
            out.print(Text(f"    --set {option.name}={default}").append(f"  {option.help}", "dim"))


@app.command("summary")
def summary_command(
    network: NetworkName,
    size: SizeText = None,
    batch: Annotated[int, typer.Option(help="Images in the batch.")] = 1,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Show every layer with its shape, parameters and multiply-adds."""
    net = catalogue.network(network)
    options = net.resolve(parse_settings(settings))
    if batch < 1:
        raise InputError(f"batch {batch}, but should be 1 or more")
    height_width = net.size if size is None else parse_size(size)
    checks.require_size(net, options, height_width)
    layers = summary.layers(network, options, height_width, batch)
    leaves = [layer for layer in layers if layer.leaf]
    totals = {
        "parameters": sum(layer.parameters for layer in leaves),
        "multiply_adds": sum(layer.multiply_adds for layer in leaves),
    }
    if as_json:
        rows = [vars(layer) for layer in layers]
        found = {"network": network, "options": options, **totals, "layers": rows}
        print(record.dumps(found), end="")
        return
    table = Table("layer", "what", "output", box=None, pad_edge=False, header_style="dim")
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for layer in layers:
        style = "" if layer.leaf else "bold"
        table.add_row(
            Text(layer.name, style=style), layer.kind, " x ".join(map(str, layer.shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        )  # fmt: skip
    out.print(table)
    out.print(
        f"{totals['parameters']:,} parameters, {totals['multiply_adds']:,} multiply-adds",
        style="bold", highlight=False,
    )  # fmt: skip


@app.command("weights")
def weights_command(
    network: NetworkName,
    file: Annotated[Path, typer.Option("--out", help="The file to write.")],
    seed: Seed = 0,
    settings: Set = None,
) -> None:
    """Write seeded shared weights: the same values on every machine."""
    net = catalogue.network(network)
    require_writable(file)
    seeded = weights.seeded(network, net.resolve(parse_settings(settings)), seed)
    weights.write(file, seeded)
    said = f"{file}: {len(seeded.arrays)} arrays, sha256 {seeded.sha256}"
    out.print(said, highlight=False, soft_wrap=True)


@app.command("run")
def run_command(
    network: NetworkName,
    backend: Annotated[str, typer.Option(help="`np`, `pt`, `tf` or `mx`.")],
    folder: Annotated[Path, typer.Option("--out", help="The trace's folder, to be made.")],
    dtype: Annotated[str, typer.Option(help="`float64`, `float32`, …")] = "float64",
    device: Device = "cpu",
    size: SizeText = None,
    batch: Batch = None,
    settings: Set = None,
    image_path: ImagesPath = None,
    weights_file: WeightsFile = None,
    seed: Seed = 0,
    pythons: Pythons = None,
    timeout: Timeout = 600,
) -> None:
    """Run a network in one backend, and keep its trace."""
    how = _settings([backend], [dtype], device, pythons, timeout, oracle=True)
    checks.refuse_full(folder)
    chosen = parse_settings(settings)
    task = _task(network, chosen, weights_file, seed, image_path, size, batch)
    with _progress() as progress:
        outcome = checks.run_one(task, how, folder, progress)
    if outcome.status != "ok" or outcome.unsupported:
        message = outcome.message or next(iter(outcome.unsupported.values()))
        err.print(Text(f"{backend}  {outcome.status}: {message}", style="yellow"))
        raise typer.Exit(checks.BROKEN)
    trace = Trace.read(folder)
    said = f"{folder}: {len(trace.endpoints)} endpoints, {trace.seconds:.1f} s"
    out.print(said, highlight=False, soft_wrap=True)


@app.command("compare")
def compare_command(
    trace: Annotated[Path, typer.Argument(help="The folder of a kept trace.")],
    reference: Annotated[Path, typer.Argument(help="What to hold it against; the oracle's, best.")],
    as_json: Json = False,
) -> None:
    """Compare two kept traces, endpoint by endpoint.

    A float32 trace is judged only where this machine has measured the noise floors
    of the same run, in a `check`; otherwise it is shown.
    """
    ours, theirs = Trace.read(trace), Trace.read(reference)
    for one in (ours, theirs):
        one.verify()
    compare.require_same_task(ours, theirs)
    _require_reference(ours, theirs)
    known = None
    if ours.run.dtype != "float64":
        known = floors.cached(floors.key(theirs.run.task(), ours.run.dtype))
    report = compare.compare(ours, theirs, known)
    if as_json:
        print(record.dumps(record.report_record(report)), end="")
    else:
        terminal.show_report(out, report)
        if report.verdict == compare.UNJUDGED:
            out.print("Not judged: this machine has no noise floors of this run; `check` it first.")
    raise typer.Exit(checks.DIVERGE if report.fails else checks.AGREE)


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
    json_file: Annotated[Path | None, typer.Option("--json", help="Write a report there.")] = None,
    pythons: Pythons = None,
    timeout: Timeout = 600,
    keep: Annotated[Path | None, typer.Option(help="A folder for all traces, to be made.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every network, with each of its notable options.")
    ] = False,
) -> None:
    """Check that backends agree with the float64 oracle, at every endpoint.

    Exit code 0: all agree. 1: something diverges. 2: bad usage or input.
    3: a backend that was asked for is missing, crashed or timed out, or nothing
    could be run.
    """
    if backends is None and not catalogue.mxnet_has_wheel():
        err.print("MXNet has no wheel for this platform and Python; checking the others.")
    asked = catalogue.default_backends() if backends is None else _words(backends)
    how = _settings(list(asked), _words(dtypes), device, pythons, timeout)
    if everything and (network or settings or weights_file):
        raise InputError("--all goes with no network, --set or --weights of its own")
    if weights_file is not None and len(network or ()) > 1:
        raise InputError("--weights goes with one network, whose weights they are")
    wanted: list[tuple[str, Mapping[str, Any]]] = [
        (name, parse_settings(settings)) for name in dict.fromkeys(network or ["googlenet"])
    ]
    if everything:
        wanted = [(n.name, v) for n in catalogue.NETWORKS.values() for v in n.variants]
    for name, chosen in wanted:  # what can't be used is refused before any work
        catalogue.network(name).resolve(chosen)
    if json_file is not None:
        require_writable(json_file)
    if keep is not None:
        checks.refuse_full(keep)
    results = []
    for number, (name, chosen) in enumerate(wanted, 1):
        title = f"[{number}/{len(wanted)}] {name}  " if len(wanted) > 1 else ""
        place = keep / f"{number:02d}-{name}" if keep and len(wanted) > 1 else keep
        with _progress(title) as progress:
            progress("weights and images")
            task = _task(name, chosen, weights_file, seed, image_path, size, batch)
            results.append(checks.check(task, how, place, progress))
        if everything:
            terminal.show_failures(out, results[-1])
        else:
            terminal.show(out, results[-1])
        if place is not None:
            out.print(f"traces: {place}", highlight=False, soft_wrap=True)
    if everything:
        terminal.show_matrix(out, results)
    if json_file is not None:
        weights.write_whole(json_file, record.dumps(record.record(results)).encode())
    raise typer.Exit(record.exit_code(results))


def _task(
    name: str, settings: Mapping[str, Any], weights_file: Path | None, seed: int,
    image_path: Path | None, size: str | None, batch: int | None,
) -> checks.Task:  # fmt: skip
    """Load what every backend will be given, and refuse what can't be used."""
    network = catalogue.network(name)
    resolved = network.resolve(settings)
    if weights_file is None:
        shared = weights.seeded(name, resolved, seed)
    else:
        shared = weights.read(weights_file)
        shared.require(name, {k: resolved[k] for k in settings}, str(weights_file))
    files = None if image_path is None else images.find(image_path)
    height_width = network.size if size is None else parse_size(size)
    return checks.make_task(shared, files, height_width, batch)


def _settings(
    backends: list[str], dtypes: list[str], device: str, pythons: list[str] | None,
    timeout: float, oracle: bool = False,
) -> checks.Settings:  # fmt: skip
    for name, words in (("backends", backends), ("dtypes", dtypes)):
        if not words:
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
    return checks.Settings(*unique, device, parse_pythons(pythons, backends), timeout)


def _require_reference(trace: Trace, reference: Trace) -> None:
    """Raise InputError unless `reference` is something to hold `trace` against."""
    ours, theirs = trace.run, reference.run
    if UNIT_ROUNDOFF[theirs.dtype] > UNIT_ROUNDOFF[ours.dtype]:
        raise InputError(
            f"{reference.folder}: in {theirs.dtype}, too coarse to judge {ours.dtype} by; "
            "exchange the two"
        )
    if theirs.mode != "propagated":
        raise InputError(
            f"{reference.folder}: an isolated run, but the reference should be a propagated one"
        )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@contextlib.contextmanager
def _progress(title: str = "") -> Iterator[Callable[[str], None]]:
    """Show a line that changes; without a terminal, the title alone."""
    if not err.is_terminal:
        if title:
            err.print(title.rstrip())
        yield lambda text: None
        return
    with err.status(f"{title}starting") as status:
        yield lambda text: status.update(f"{title}{text}")


class Interrupted(BaseException):
    """A signal that asks the command to end. A KeyboardInterrupt would be Typer's to handle."""


def _interrupt(number: int, frame: object) -> None:
    for again in SIGNALS:
        signal.signal(again, signal.SIG_IGN)  # tidying up isn't interrupted
    raise Interrupted(signal.Signals(number).name)


def main() -> None:
    """Run the command as a program of its own."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `… | head` ends us as it ends others
    sys.exit(invoke())


def invoke(words: list[str] | None = None) -> int:
    """Run the command and return its exit code; what the user can mend ends in one clear message.

    Args:
        words: the command line; by default this process's own.
    """
    try:
        try:
            app(words)
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except InputError as error:
        return _fail(str(error), 2)
    except OracleError as error:
        return _fail(str(error), checks.BROKEN)
    except MemoryError:
        return _fail("out of memory; give a smaller --batch or --size", 2)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at the end
        return _fail(f"can't read or write: {error}", 2)
    except Interrupted as signalled:
        err.print(f"interrupted by {signalled}: all workers have been ended, nothing was left")
        return 130
    return 0


def _fail(message: str, code: int) -> int:
    err.print(Text("error: ", style="bold red").append(message, style="not bold default"))
    return code


if __name__ == "__main__":
    main()
