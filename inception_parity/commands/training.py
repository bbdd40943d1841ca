"""Training networks, and testing what was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .. import errors, files
from ..backends import UnavailableError
from ..checking.task import require_size
from ..data import datasets
from ..data.feed import AUGMENTATIONS, DataSet
from ..data.images import parse_size
from ..errors import InputError
from ..networks import catalogue
from ..networks.summary import values_per_channel
from ..report import bars, record
from ..traces import weights
from ..training import checkpoint
from ..training import loop as trains
from ..training.checkpoint import Checkpoint, Position
from ..training.plan import DEFAULTS, Plan
from . import err, out, print_line
from .arguments import parse_settings
from .option_groups import command
from .options import Json, Set

INTERRUPTED = 130

Data = Annotated[
    str | None,
    typer.Option(help="`fashion-mnist`, `cifar-10`, or a folder with a sub-folder per class."),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(help="Where the files of a known data set are; else looked for, or downloaded."),
]
TrainImages = Annotated[int | None, typer.Option(help="Train with the first so many only.")]
TestImages = Annotated[int | None, typer.Option(help="Test with the first so many only.")]
SizeText = Annotated[str | None, typer.Option("--size", help="Image size: `96`, or `96x64` (HxW).")]
Threads = Annotated[int | None, typer.Option(help="Of the framework. Default: all cores.")]
Device = Annotated[str | None, typer.Option(help="`cpu` or `gpu`. Default: cpu.")]
Pixels = Annotated[
    str | None,
    typer.Option(help="`signed`: -1 … 1, as `check` has them, the default; `unit`: 0 … 1, as d2l."),
]


def _default(name: str) -> str:
    return f"Default: {DEFAULTS[name]}."


@command("train")
def train_command(
    network: Annotated[str | None, typer.Argument(help="A network; `networks` lists them.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="The folder of a new training, to be made.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="The folder of a training that is to go on.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help=f"`pt`, `tf` or `mx`. {_default('backend')}")
    ] = None,
    data: Data = None,
    data_folder: DataFolder = None,
    size: SizeText = None,
    settings: Set = None,
    epochs: Annotated[int | None, typer.Option(help=_default("epochs"))] = None,
    batch: Annotated[
        int | None, typer.Option(help=f"Images in a batch. {_default('batch')}")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="`sgd`, `nesterov`, `adam` or `rmsprop`. Default: sgd.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate. Default: 0.1; Adam 0.001; RMSProp 0.045.")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Of SGD. Default: 0; 0.9 with `nesterov`.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help=_default("weight_decay"))] = None,
    label_smoothing: Annotated[float | None, typer.Option(help=_default("label_smoothing"))] = None,
    aux_weight: Annotated[
        float | None, typer.Option(help="Of each head's loss. Default: 0.3; inception_v3 0.4.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="`d2l` (Xavier), `seeded`, or a file of shared weights. Default: d2l."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, shuffle, augmentation, dropout. Default: 0.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help=f"`{'` or `'.join(AUGMENTATIONS)}`. Default: none.")
    ] = None,
    pixels: Pixels = None,
    precision: Annotated[
        str | None, typer.Option(help="`float32`, or `bfloat16`: PyTorch's autocast.")
    ] = None,
    channels_last: Annotated[
        bool | None, typer.Option("--channels-last", help="PyTorch's; faster on CPUs.")
    ] = None,
    threads: Threads = None,
    device: Device = None,
    train_images: TrainImages = None,
    test_images: TestImages = None,
    every: Annotated[
        float, typer.Option("--checkpoint-every", help="Seconds between checkpoints.")
    ] = 60.0,
) -> None:
    """Train a network on real data, with checkpoints, metrics and learning curves.

    The folder gets `checkpoint.safetensors`, `metrics.jsonl` (a line per epoch), `curves.png`,
    and in the end `weights.safetensors`, which `check`, `evaluate` and `train --init` take.

    Stop it with Ctrl-C, or let it be killed at any moment: `train --resume FOLDER` goes on, and on
    a CPU comes to the weights that it would have come to, bit for bit. With --resume nothing else
    has to be given again; --epochs may be more than before.

        train googlenet --data fashion-mnist --size 96 --pixels unit --out runs/d2l

    is d2l's run, section 8.4. Batches are the same in every backend: seeded shuffle, --augment,
    resizing and scaling are done once, before any framework sees them.
    """
    given = _given(
        backend=backend, epochs=epochs, batch=batch, optimizer=optimizer, lr=lr, momentum=momentum,
        weight_decay=weight_decay, label_smoothing=label_smoothing, aux_weight=aux_weight,
        init=init, seed=seed, augment=augment, pixels=pixels, precision=precision,
        channels_last=channels_last, threads=threads, device=device,
    )  # fmt: skip
    if (folder is None) == (resume is None):
        raise InputError("give --out for a new training, or --resume with the folder of one")
    if not every >= 0:
        raise InputError(f"--checkpoint-every {every:g}, but should be 0 seconds or more")
    watch = bars.Watch(out, err)
    if resume is not None:
        folder, start = resume, checkpoint.read(resume)
        images = _given(train_images=train_images, test_images=test_images)
        given |= images | _given(network=network) | _size(size)
        start = _resumed(start, {**given, **_options(start, settings)}, resume)
        found = _same_data(start.plan, data, data_folder, watch)
    else:
        assert folder is not None
        if network is None or data is None:
            raise InputError("give a network and --data, or --resume with a training's folder")
        if (folder / checkpoint.FILE).exists():
            raise InputError(f"{folder}: holds a training; go on with --resume, or give another")
        files.refuse_full(folder)
        catalogue.network(network)
        found = datasets.load(data, data_folder, watch.say).limited(train_images, test_images)
        start = trains.begin(plan_of(network, settings, size, found, given))
    _train(start, found, folder, watch, every)


def _train(start: Checkpoint, data: DataSet, folder: Path, watch: bars.Watch, every: float) -> None:
    plan, position = start.plan, start.position
    title = catalogue.BACKENDS[plan.backend].title
    try:
        with trains.locked(folder), watch.heeding():
            watch.say(
                f"{plan.network} in {title} on {plan.data}: {len(data.train):,} images to "
                f"train with, {len(data.test):,} to test with; from {data.note}"
            )
            if position.steps:
                watch.say(f"going on after {position.epoch} epochs and {position.step} steps")
            trains.train(start, data, folder, watch, every)
    except UnavailableError as error:
        err.print(Text(str(error), style="yellow"))
        raise typer.Exit(errors.BROKEN) from error
    except trains.StoppedError:
        err.print(f"stopped; to go on: inception-parity train --resume {folder}", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    except trains.DivergedError as error:
        how = "give a smaller --lr, or other weights to begin with"
        err.print(Text(f"diverged: {error}; {how}", style="yellow"))
        raise typer.Exit(errors.DIVERGE) from None
    except BaseException:
        if watch.asked:  # twice
            err.print(f"the last checkpoint is kept; to go on: train --resume {folder}")
        raise
    print_line(f"{folder / trains.WEIGHTS}")


def _given(**values: Any) -> dict[str, Any]:
    """Return those options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _size(text: str | None) -> dict[str, int]:
    return {} if text is None else dict(zip(("height", "width"), parse_size(text), strict=True))


def plan_of(
    network: str, settings: list[str] | None, size: str | None, data: DataSet, given: dict[str, Any]
) -> Plan:
    """Return the plan of a new training, and refuse what can't be used.

    Args:
        network: its name.
        settings: what was given with `--set`.
        size: what was given with `--size`.
        data: what is to be learnt.
        given: other fields of the plan's record.
    """
    known = catalogue.network(network)
    by_data = {"in_channels": data.channels, "num_classes": len(data.classes)}
    options = known.resolve({**by_data, **parse_settings(settings)})
    if int(options["num_classes"]) < len(data.classes):
        raise InputError(
            f"num_classes={options['num_classes']}, but {data.name} has {len(data.classes)}"
        )
    if options["in_channels"] not in (1, 3):
        raise InputError(f"in_channels={options['in_channels']}, but images have 1 or 3 channels")
    sides = _size(size) or dict(zip(("height", "width"), known.size, strict=True))
    made = Plan.make({
        "network": network, "options": options, "data": data.name, "data_digest": data.digest,
        "train_images": len(data.train), "test_images": len(data.test), **sides, **given,
    })  # fmt: skip
    heads = {"return_aux": True} if options.get("use_aux") else {}  # they run in training
    require_size(known, {**options, **heads}, (made.height, made.width))
    _require_last_batch(made)
    return made


def _require_last_batch(plan: Plan) -> None:
    """Refuse a batch that leaves batch norm a single value: PyTorch fails, others learn nothing.

    Without any spread, the norm's output is its bias whatever the image, and its gradient 0.
    """
    last = plan.train_images % plan.recipe.batch or min(plan.recipe.batch, plan.train_images)
    try:
        values_per_channel(plan.network, plan.options, (plan.height, plan.width), last)
    except InputError as error:
        raise InputError(
            f"the last batch of an epoch, of {last} out of {plan.train_images} images: {error}, "
            "or leave some out with --train-images"
        ) from error


def _options(start: Checkpoint, settings: list[str] | None) -> dict[str, Any]:
    """Return the network's options as `--set` wants them, if it is given."""
    if not settings:
        return {}
    known = catalogue.network(start.plan.network)
    return {"options": known.resolve({**start.plan.options, **parse_settings(settings)})}


def _resumed(start: Checkpoint, given: dict[str, Any], folder: Path) -> Checkpoint:
    """Return the training with more epochs, if so many are asked for.

    Raises:
        InputError: something else is asked for than what the training began with.
    """
    epochs = given.pop("epochs", start.plan.epochs)
    different = start.plan.differences(given)
    if different:
        raise InputError(
            f"{folder}: a training with {'; '.join(different)}. It can only go on as it "
            "began; leave that out, or begin another with --out"
        )
    if epochs < max(start.position.epoch, 1):
        raise InputError(f"--epochs {epochs}, but {start.position.epoch} are done already")
    return replace(start, plan=start.plan.changed(epochs=epochs))


def _same_data(plan: Plan, data: str | None, folder: Path | None, watch: bars.Watch) -> DataSet:
    """Return the data that a plan names.

    Raises:
        InputError: others are asked for, or found.
    """
    if data not in (None, plan.data):
        raise InputError(f"a training on {plan.data}, but --data {data} was asked for")
    found = datasets.load(plan.data, folder, watch.say)
    if found.digest != plan.data_digest:
        raise InputError(
            f"{plan.data}: not the data that the training began with (from {found.note}); "
            "give --data-folder"
        )
    return found.limited(plan.train_images, plan.test_images)


@command("evaluate")
def evaluate_command(
    trained: Annotated[
        Path, typer.Argument(help="A training's folder, its checkpoint, or a weight file.")
    ],
    backend: Annotated[
        str | None, typer.Option(help="`pt`, `tf` or `mx`. Default: the one that trained, or pt.")
    ] = None,
    data: Data = None,
    data_folder: DataFolder = None,
    size: SizeText = None,
    pixels: Pixels = None,
    batch: Annotated[int | None, typer.Option(help="Images in a batch. Default: 128.")] = None,
    threads: Threads = None,
    device: Device = None,
    test_images: TestImages = None,
    as_json: Json = False,
) -> None:
    """Test a trained network in any backend, whichever trained it.

    A checkpoint knows its data, size and pixels; for a file of shared weights give --data, and
    --size and --pixels as it was trained with. It is always tested in float32, and the images
    are the test images in their own order: so all backends say the same, but where two classes
    are closer than float32 can tell.
    """
    watch = bars.Watch(out, err)
    start, found = _trained(
        trained, data, data_folder, watch,
        {**_size(size), **_given(pixels=pixels, batch=batch, threads=threads, device=device)},
    )  # fmt: skip
    plan, position = start.plan, start.position
    found = found.limited(None, test_images)
    name = backend or plan.backend
    if name not in catalogue.default_backends():
        catalogue.backend(name)
        raise InputError(f"{name} doesn't test; give one of the frameworks: pt, tf or mx")
    try:
        with watch.heeding():
            loss, right = trains.test(plan, name, start.weights, found, watch)
    except UnavailableError as error:
        err.print(Text(str(error), style="yellow"))
        raise typer.Exit(errors.BROKEN) from error
    except trains.StoppedError:
        raise typer.Exit(INTERRUPTED) from None
    result = {
        "network": plan.network, "options": plan.options, "backend": name, "data": found.name,
        "steps": position.steps, "test_loss": loss, "test_right": right,
        "test_images": len(found.test), "test_accuracy": right / len(found.test),
    }  # fmt: skip
    if as_json:
        print(record.dumps(result), end="")
        return
    title = catalogue.BACKENDS[name].title
    print_line(
        f"{plan.network} in {title}: test accuracy {result['test_accuracy']:.4f} "
        f"({right:,} of {len(found.test):,}), loss {loss:.6f}"
    )


def _trained(
    path: Path, data: str | None, folder: Path | None, watch: bars.Watch, given: dict[str, Any]
) -> tuple[Checkpoint, DataSet]:
    """Return what was trained, as a checkpoint, and the data to test it on."""
    if path.is_dir() or checkpoint.is_checkpoint(path):
        start = checkpoint.read(path)
        if data is None:
            found = _same_data(start.plan, None, folder, watch)
        else:
            found = datasets.load(data, folder, watch.say)
        return replace(start, plan=start.plan.changed(**given)), found
    if data is None:
        raise InputError(f"{path}: weights alone don't say what they were trained on; give --data")
    shared = weights.read(path)
    known, found = catalogue.network(shared.network), datasets.load(data, folder, watch.say)
    made = Plan.make({
        "network": known.name, "options": shared.options, "data": found.name,
        "data_digest": found.digest, "train_images": len(found.train),
        "test_images": len(found.test), "height": known.size[0], "width": known.size[1], **given,
    })  # fmt: skip
    return Checkpoint(made, Position(), shared.arrays, {}), found
