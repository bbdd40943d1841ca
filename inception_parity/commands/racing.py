"""The same training in several backends, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from .. import errors, files
from ..comparison.limits import LIMIT_TRAINING_STEP
from ..data import datasets
from ..data.images import parse_size
from ..errors import InputError, nearest
from ..networks import catalogue
from ..plots import race as pictures
from ..training import racing
from ..training.plan import Plan
from . import err, out, print_line, progress
from .arguments import parse_pythons, parse_settings, words
from .option_groups import command
from .options import NetworkName, Pythons, Set, SizeText
from .training import DataFolder, plan_of

DTYPES = ("float64", "float32")
STEPS, PICTURE = "race.jsonl", "race.png"


@command("race")
def race_command(
    network: NetworkName,
    folder: Annotated[Path, typer.Option("--out", help="A folder to make, for what came out.")],
    data: Annotated[
        str,
        typer.Option(help="`fashion-mnist`, `cifar-10`, or a folder with a sub-folder per class."),
    ],
    data_folder: DataFolder = None,
    backends: Annotated[str | None, typer.Option(help="With commas; by default pt,tf,mx.")] = None,
    dtypes: Annotated[str, typer.Option(help="With commas.")] = "float64,float32",
    steps: Annotated[int, typer.Option(help="How many.")] = 20,
    batch: Annotated[int, typer.Option(help="Images in a batch.")] = 16,
    size: SizeText = None,
    settings: Set = None,
    optimizer: Annotated[str, typer.Option(help="`sgd`, `nesterov`, `adam` or `rmsprop`.")] = "sgd",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.0625,
    momentum: Annotated[float | None, typer.Option(help="Of SGD.")] = None,
    weight_decay: Annotated[float, typer.Option(help="As part of the gradient.")] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Share of all classes.")] = 0.0,
    init: Annotated[
        str, typer.Option(help="`d2l` (Xavier), `seeded`, or a file of shared weights.")
    ] = "d2l",
    seed: Annotated[int, typer.Option(help="Of weights, shuffle and augmentation.")] = 0,
    augment: Annotated[str, typer.Option(help="`none` or `crop-flip`.")] = "none",
    pixels: Annotated[str, typer.Option(help="`signed` or `unit`.")] = "signed",
    pythons: Pythons = None,
    timeout: Annotated[float, typer.Option(help="Seconds for all of it.")] = 3600.0,
) -> None:
    """Train the same network in several backends and dtypes, and see rounding part them.

    Every runner is a process of its own, with the same weights to begin with and the same
    batches; dropout drops nothing. After every step the weights are compared: *distance* is
    |w - reference| / |reference| over all that is trained, where the reference is the mean of the
    float64 runs; *apart* holds two backends against each other. The folder gets `race.jsonl`, a
    line per step with every layer, and `race.png`.

    Rounding starts near 1e-16 in float64 and near 1e-8 in float32, and grows from step to step,
    faster with a larger --lr and with batch norm. A mistake is as large in float64 as in float32,
    from the first step on; `check-training` says where. MXNet keeps --lr and --momentum
    in float32: numbers such as 0.0625 and 0.875 are the same there, 0.1 and 0.9 are not.
    """
    names = list(dict.fromkeys(words(backends or ",".join(catalogue.default_backends()))))
    kinds = list(dict.fromkeys(words(dtypes)))
    for kind in kinds:
        if kind not in DTYPES:
            raise InputError(
                f"no dtype {kind!r}{nearest(kind, DTYPES)} to race in; "
                f"there are: {', '.join(DTYPES)}"
            )
    for name in names:
        if catalogue.backend(name).name == catalogue.ORACLE:
            raise InputError("np is the oracle: it doesn't train; give some of pt, tf, mx")
    runners = [(name, kind) for kind in kinds for name in names]
    if len(runners) < 2:
        raise InputError("a race needs two runners: give more --backends or --dtypes")
    if steps < 1:
        raise InputError(f"--steps {steps}, but should be 1 or more")
    if not timeout > 0:
        raise InputError(f"--timeout {timeout:g}, but should be more than 0 seconds")
    files.refuse_full(folder)
    interpreters = parse_pythons(pythons, names)
    parse_settings(settings)
    if size is not None:
        parse_size(size)
    catalogue.network(network)
    found = datasets.load(data, data_folder, lambda text: err.print(text))
    plan = plan_of(network, settings, size, found, {
        "epochs": 1, "batch": batch, "optimizer": optimizer, "lr": lr, "momentum": momentum,
        "weight_decay": weight_decay, "label_smoothing": label_smoothing, "init": init,
        "seed": seed, "augment": augment, "pixels": pixels,
    })  # fmt: skip
    with progress() as say:
        say("starting")
        try:
            done = racing.race(
                plan, runners, steps, found, timeout, interpreters,
                lambda step: say(f"step {step.step}/{steps}"),
            )  # fmt: skip
        except racing.FailedError as error:
            err.print(Text(str(error), style="yellow"))
            raise typer.Exit(errors.BROKEN) from error
    if done:
        _leave(folder, plan, done)
        _show(done)
        for kind in kinds:
            found_apart = racing.parting(done, kind)
            if found_apart is not None:
                print_line(_said(kind, found_apart, done[-1]))
        print_line(f"{folder / STEPS}, {folder / PICTURE}")
    if len(done) < steps:
        err.print(
            Text(
                f"diverged: weights are infinite or NaN after step {len(done) + 1}; "
                "give a smaller --lr",
                style="yellow",
            )
        )
        raise typer.Exit(errors.DIVERGE)


def _leave(folder: Path, plan: Plan, done: list[racing.Step]) -> None:
    title = f"{plan.network} on {plan.data}, {plan.summary}"
    names = list(done[0].loss)
    losses = {name: [step.loss[name] for step in done] for name in names}
    distances = {name: [step.distance[name] for step in done] for name in names}
    moved = [step.moved for step in done]
    with files.work_folder(folder) as work:
        files.write_whole(work / STEPS, racing.lines(done).encode())
        pictures.draw(work / PICTURE, title, losses, distances, moved, done[-1].layers)
        work.chmod(0o755)
        work.replace(folder)


def _show(done: list[racing.Step]) -> None:
    """Show the first and the last step, and some between: losses, then distances."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("step\n", justify="right", no_wrap=True)
    for name in done[0].loss:
        backend, dtype = name.split()
        table.add_column(f"{backend}\n{dtype}", justify="right", no_wrap=True)
    for name in done[0].apart:
        pair, _, dtype = name.rpartition(" ")
        table.add_column(f"{pair.replace(' and ', '-')}\n{dtype}", justify="right", no_wrap=True)
    table.add_column("way\n", justify="right", no_wrap=True)
    count = len(done)
    print_line(
        "loss of each step; then how far apart the weights are after it, and from the start",
        style="dim",
    )
    for number in sorted({n for n in (1, 2, 3, 5, *range(10, count, max(10, count // 50 * 10)))
                          if n <= count} | {count}):  # fmt: skip
        step = done[number - 1]
        table.add_row(
            str(step.step), *(f"{x:.4f}" for x in step.loss.values()),
            *(f"{x:.0e}" for x in step.apart.values()), f"{step.moved:.0e}",
        )  # fmt: skip
    out.print(table)


def _said(dtype: str, parting: racing.Parting, last: racing.Step) -> Text:
    """Say in words how the backends part in a dtype."""
    text = Text(f"{dtype}: ")
    if parting.first == parting.last == 0:
        return text.append("bit-identical weights after every step")
    text.append(f"{parting.first:.1e} apart after step 1, {parting.last:.1e} after {last.step}")
    if parting.growth is not None:
        text.append(f": {parting.growth:.2g} times as far with each step")
    if parting.lost is not None:
        text.append(
            f"; from step {parting.lost} on they are further apart than a tenth of the way "
            "that they have come: other networks"
        )
    text.append(f"; furthest in {parting.layer} ({parting.at_layer:.1e})")
    if dtype == "float64" and parting.first > LIMIT_TRAINING_STEP:
        text.append(
            f"\n  more than rounding makes in one step ({LIMIT_TRAINING_STEP:.0e}): "
            "`check-training` says what it is",
            style="yellow",
        )
    return text
