"""The commands `train`, in which a network learns real data, and `evaluate`, which tests it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from .. import errors, files, pretrained
from ..classification.classifier import expected_inputs, trained_inputs
from ..conversion.converting import read
from ..conversion.found import Claim
from ..conversion.identifying import identify
from ..conversion.named import shared_weights
from ..data.feed import DataSet
from ..errors import InputError, nearest
from ..networks import catalogue
from ..report import bars
from ..training import checkpoint
from ..training import loop as trains
from ..training.checkpoint import Checkpoint, Position
from ..training.schedule import CONSTANT
from . import err, out, print_json, print_line, stop
from .arguments import parse_settings
from .option_groups import command
from .plans import DataOptions, PlanFields, PlanOptions, given, plan_of

MADE = ("d2l", "seeded")  # the weights that --init makes; what else it says is a file or a name


@dataclass(frozen=True)
class TrainOptions(PlanOptions):
    """What only `train` lets one choose."""

    backend: str | None = None
    epochs: int | None = None
    aux_weight: float | None = None
    precision: str | None = None
    channels_last: bool | None = None
    threads: int | None = None
    device: str | None = None
    freeze: list[str] | None = None
    unfreeze_after: int | None = None
    schedule: str | None = None
    warmup: int | None = None
    patience: int | None = None
    num_classes: int | None = None

    def given(self) -> dict[str, Any]:
        named = super().given()
        named.pop("num_classes", None)
        return {**named, **({"freeze": tuple(self.freeze)} if self.freeze else {})}

    def start(self, network: str | None, data: DataSet, say: Callable[[str], None]) -> Checkpoint:
        """Return the checkpoint of a new training, and refuse what can't be used."""
        if self.num_classes is not None:
            words = [*(self.settings or ()), f"num_classes={self.num_classes}"]
            return replace(self, num_classes=None, settings=words).start(network, data, say)
        if self.init in (None, *MADE):
            if network is None:
                raise InputError("give a network, or --init with weights to begin with")
            return trains.begin(self.plan(network, data))
        asked = parse_settings(self.settings)
        asked.pop("num_classes", None)
        path = self._weights_to_begin_with()
        found = identify(path, Claim(network=network, settings=asked), say)
        shared = read(found)
        options = {
            **shared.options,
            **({"return_aux": False} if "return_aux" in shared.options else {}),
        }
        inputs, whose = expected_inputs(path, found, shared)
        own = {} if inputs is None else inputs.fields()
        made = self.plan(shared.network, data, options, **{**own, **self.given()})
        shared, new = trains.fitting(replace(shared, options=options), made)
        say(f"beginning with {self.init}: {found.title}")
        for text in found.assumed:
            say(f"assumed: {text}")
        if inputs is not None:
            prepared = replace(inputs, height=made.height, width=made.width, pixels=made.pixels)
            other = "" if prepared == inputs else f", but {inputs.title} with {whose}"
            say(f"images: {prepared.title}{other or f', as with {whose}'}")
        if new:
            say(f"a new classifier for {made.options['num_classes']} classes: {', '.join(new)}")
        return trains.begin(made, shared)

    def _weights_to_begin_with(self) -> Path:
        """Return the file, or the name, of `--init`; of a training's folder, its best weights."""
        path = Path(str(self.init))
        if path.is_dir():
            if not (path / trains.BEST).is_file():
                raise InputError(
                    f"--init {path}: a folder without {trains.BEST}, which `train` leaves after an "
                    "epoch; give a file of weights"
                )
            return path / trains.BEST
        if path.name == checkpoint.FILE and path.is_file():
            raise InputError(
                f"--init {path}: a checkpoint, to go on from with --resume; to begin anew, give "
                f"{path.with_name(trains.BEST)}"
            )
        if pretrained.known(path) is None and not path.is_file():
            raise InputError(
                f"--init {path}: no such file{nearest(str(path), MADE)}; give {', '.join(MADE)}, "
                "a file of weights, the folder of a training, or a name that `pretrained` lists"
            )
        return path


@command("train")
def train_command(
    *,
    data: DataOptions,
    train_images: int | None = None,
    options: TrainOptions,
    network: str | None = None,
    folder: Path | None = None,
    resume: Path | None = None,
    every: float = 60.0,
) -> None:
    """Train a network on real data, with checkpoints, metrics and learning curves.

    The folder gets `checkpoint.safetensors`, `metrics.jsonl` (a line per epoch), `curves.png`,
    `best.safetensors`, the weights of the best test accuracy so far, and in the end
    `weights.safetensors`, which `check`, `evaluate` and `train --init` take.

    --init also takes trained weights: a file of any library, the folder of another training, or a
    name that `pretrained` lists. The network, its options, --size and --pixels are then theirs
    unless they are given, and the classifier is a new one if the data have other classes. To train
    that alone, give --freeze all-but-head, and perhaps --unfreeze-after.

    A training may be stopped with Ctrl-C or killed at any moment. `train --resume FOLDER` goes on
    from its last checkpoint; on a CPU it reaches the same weights, bit for bit, as a training
    that was never interrupted. Nothing else has to be given again; --epochs may be raised.

    Batches are the same in every backend: seeded shuffling, --augment, resizing and scaling
    are done once, before any framework sees them.

    Example, d2l's run of section 8.4:

        inception-parity train googlenet --data fashion-mnist --size 96 \\
            --pixels unit --out runs/d2l
    """
    if (folder is None) == (resume is None):
        raise InputError("give --out for a new training, or --resume with the folder of one")
    if not every >= 0:
        raise InputError(f"--checkpoint-every {every:g}, but should be 0 seconds or more")
    watch = bars.ProgressWatch(out, err)
    if resume is not None:
        folder, start = resume, _resumed(
            resume, options, network=network, train_images=train_images,
            test_images=data.test_images,
        )  # fmt: skip
        found = data.load_same(start.plan, watch.say)
    else:
        assert folder is not None
        if data.data is None or (network is None and options.init in (None, *MADE)):
            raise InputError(
                "give a network and --data, or --resume with a training's folder; --init with "
                "trained weights says which network"
            )
        if (folder / checkpoint.FILE).exists():
            raise InputError(
                f"{folder}: holds a training; go on with --resume, or give another folder"
            )
        files.refuse_full(folder)
        if network is not None:
            catalogue.network(network)
        found = data.load(watch.say, train_images)
        start = options.start(network, found, watch.say)
    _train(start, found, folder, watch, every)


def _train(
    start: Checkpoint, data: DataSet, folder: Path, watch: bars.ProgressWatch, every: float
) -> None:
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
            history = trains.train(start, data, folder, watch, every)
    except trains.StoppedError:
        err.print(f"stopped; to go on: inception-parity train --resume {folder}")
        raise typer.Exit(errors.INTERRUPTED) from None
    except trains.DivergedError as error:
        stop(
            f"diverged: {error}; give a smaller --lr, or other weights to begin with",
            errors.DIVERGE,
        )
    except BaseException:
        if watch.asked:  # twice
            err.print(f"the last checkpoint is kept; to go on: train --resume {folder}")
        raise
    if len(history) < plan.epochs:
        print_line(
            f"ended early: no better test accuracy in the {plan.tuning.patience} epochs after "
            f"epoch {trains.best_epoch(history)}"
        )
    print_line(f"{folder / trains.WEIGHTS}")


def _resumed(folder: Path, options: TrainOptions, **more: Any) -> Checkpoint:
    """Return the training in `folder`, with more epochs if so many are asked for.

    Args:
        folder: of the training.
        options: what is asked for.
        more: other fields of its plan's record that were asked for, or None.

    Raises:
        InputError: something else is asked for than what the training began with.
    """
    start = checkpoint.read(folder)
    plan = start.plan
    asked = options.given() | given(**more)
    if options.settings:
        changed = {**plan.options, **parse_settings(options.settings)}
        asked["options"] = catalogue.network(plan.network).resolve(changed)
    if options.num_classes is not None:
        asked["options"] = {
            **asked.get("options", plan.options),
            "num_classes": options.num_classes,
        }
    epochs = asked.pop("epochs", plan.epochs)
    if epochs != plan.epochs and plan.tuning.schedule != CONSTANT:
        raise InputError(
            f"{folder}: its learning rate follows --schedule {plan.tuning.schedule} over "
            f"{plan.epochs} epochs, which can't be changed now; begin another with --out"
        )
    different = plan.differences(asked)
    if different:
        raise InputError(
            f"{folder}: a training with {'; '.join(different)}. It can only go on as it "
            "began; leave that out, or begin another with --out"
        )
    if epochs < max(start.position.epoch, 1):
        raise InputError(f"--epochs {epochs}, but {start.position.epoch} are done already")
    return replace(start, plan=plan.changed(epochs=epochs))


@dataclass(frozen=True)
class TestOptions(PlanFields):
    """How a network is tested."""

    size: str | None = None
    pixels: str | None = None
    batch: int | None = None
    threads: int | None = None
    device: str | None = None


@command("evaluate")
def evaluate_command(
    trained: Path,
    data: DataOptions,
    options: TestOptions,
    backend: str | None = None,
    as_json: bool = False,
) -> None:
    """Test a trained network in any backend, whichever trained it.

    A checkpoint knows its data, size and pixels. The weights that `train` leaves know size and
    pixels, and need --data; others also need the --size and --pixels of their training. Tests are
    in float32, on the test images in their own order, so all backends agree except where two
    classes are closer than float32 can tell.

    Example:

        inception-parity evaluate runs/d2l --backend mx
    """
    watch = bars.ProgressWatch(out, err)
    start, found = _trained(trained, data, watch, options.given())
    plan, position = start.plan, start.position
    name = backend or plan.backend
    if name not in catalogue.default_backends():
        catalogue.backend(name)
        raise InputError(f"--backend {name} can't test; give one of the frameworks: pt, tf or mx")
    try:
        with watch.heeding():
            loss, right = trains.test(plan, name, start.weights, found, watch)
    except trains.StoppedError:
        raise typer.Exit(errors.INTERRUPTED) from None
    accuracy = right / len(found.test)
    if as_json:
        print_json({
            "network": plan.network, "options": plan.options, "backend": name,
            "data": found.name, "steps": position.steps, "test_loss": loss, "test_right": right,
            "test_images": len(found.test), "test_accuracy": accuracy,
        })  # fmt: skip
        return
    print_line(
        f"{plan.network} in {catalogue.BACKENDS[name].title}: test accuracy {accuracy:.4f} "
        f"({right:,} of {len(found.test):,}), loss {loss:.6f}"
    )


def _trained(
    path: Path, asked: DataOptions, watch: bars.ProgressWatch, changed: dict[str, Any]
) -> tuple[Checkpoint, DataSet]:
    """Return what was trained, as a checkpoint with `changed` fields, and its test data."""
    if path.is_dir() or (pretrained.known(path) is None and checkpoint.is_checkpoint(path)):
        start = checkpoint.read(path)
        if asked.data is None:
            found = asked.load_same(start.plan, watch.say).limited(None, asked.test_images)
        else:
            found = asked.load(watch.say)
        return replace(start, plan=start.plan.changed(**changed)), found
    if asked.data is None:
        raise InputError(f"{path}: a weight file doesn't say what it was trained on; give --data")
    shared = shared_weights(path)
    found = asked.load(watch.say)
    inputs = trained_inputs(path, shared)
    if inputs is not None:
        if inputs.classes and inputs.classes != found.classes:
            raise InputError(
                f"{path}: trained on the classes {errors.few(inputs.classes)}, but {found.name} "
                f"has {errors.few(found.classes)}"
            )
        changed = {**inputs.fields(), **changed}
    plan = plan_of(shared.network, dict(shared.options), found, **changed)
    return Checkpoint(plan, Position(), shared.arrays, {}), found
