"""The plan of a training: a network, data, where it computes, and the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..backends.recipe import Recipe
from ..data.feed import AUGMENTATIONS, PIXELS, Feed
from ..errors import InputError, nearest
from ..networks import catalogue
from ..traces.freezing import frozen_names
from ..workers.processes import cores
from .inputs import Inputs
from .schedule import SCHEDULES, Tuning

OPTIMIZERS = {"sgd": "SGD", "nesterov": "SGD", "adam": "Adam", "rmsprop": "RMSProp"}
PRECISIONS = ("float32", "bfloat16")

# What may be left out; None where it depends on something else.
DEFAULTS: dict[str, Any] = {
    "backend": "pt", "epochs": 10, "batch": 128, "optimizer": "sgd", "lr": None, "momentum": None,
    "weight_decay": 0.0, "label_smoothing": 0.0, "aux_weight": None, "init": "d2l", "seed": 0,
    "augment": "none", "pixels": "signed", "precision": "float32", "channels_last": False,
    "threads": None, "device": "cpu", "classes": (), **asdict(Tuning()),
}  # fmt: skip
LR = {"sgd": 0.1, "nesterov": 0.1, "adam": 1e-3, "rmsprop": 0.045}
MOMENTUM = {"sgd": 0.0, "nesterov": 0.9}
# Fields of a record that belong to the recipe, in addition to those of its optimizer.
SHARED = ("label_smoothing", "aux_weight", "batch", "seed", "precision", "channels_last")


@dataclass(frozen=True)
class Plan:
    """Everything that the trained weights depend on.

    Threads and device are part of it: they change the order in which sums are taken.

    A record is the same as a flat dictionary, with `optimizer`, `lr`, `momentum` and
    `weight_decay` as on the command line. Checkpoints hold it.
    """

    network: str
    options: dict[str, Any]
    data: str
    data_digest: str
    train_images: int
    test_images: int
    height: int
    width: int
    backend: str
    epochs: int
    init: str  # d2l, seeded, or a file
    augment: str
    pixels: str
    threads: int
    device: str
    recipe: Recipe
    classes: tuple[str, ...] = ()  # their names, in the order of the logits
    tuning: Tuning = field(default_factory=Tuning)

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Plan:
        """Return a plan, with defaults for the fields of a record that aren't `given`.

        Raises:
            InputError: names every value that can't be used, and what it should be.
        """
        values = {**DEFAULTS, **given}
        kind = values["optimizer"]
        computed = {
            "lr": LR.get(kind),
            "momentum": MOMENTUM.get(kind, 0.0),
            "aux_weight": catalogue.network(values["network"]).aux_weight,
            "threads": cores(),
        }
        values.update({k: v for k, v in computed.items() if values[k] is None})
        _require(values)
        return cls.from_record(values)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Plan:
        """Return the plan that a record describes.

        Raises:
            KeyError, TypeError: a field is missing, or unknown.
        """
        values = dict(record)
        kind = values.pop("optimizer")
        settings = {name: values.pop(name) for name in ("lr", "weight_decay", "momentum")}
        if OPTIMIZERS[kind] == "SGD":
            settings["nesterov"] = kind == "nesterov"
        else:
            del settings["momentum"]
        shared = {name: values.pop(name) for name in SHARED}
        own = {f.name: values.pop(f.name) for f in fields(Tuning) if f.name in values}
        own["freeze"] = tuple(own.get("freeze", ()))
        values["classes"] = tuple(values.get("classes", ()))
        return cls(
            **values, tuning=Tuning(**own), recipe=Recipe(OPTIMIZERS[kind], settings, **shared)
        )

    def record(self) -> dict[str, Any]:
        """Return the plan as a record; what older records lack isn't in it unless it is used."""
        added = {"classes": (), **asdict(Tuning())}
        return {k: v for k, v in self._record().items() if k not in added or v != added[k]}

    def _record(self) -> dict[str, Any]:
        recipe, settings = asdict(self.recipe), self.recipe.settings
        own = [f.name for f in fields(self) if f.name not in ("recipe", "tuning")]
        return {
            **{name: getattr(self, name) for name in own},
            **asdict(self.tuning),
            **{name: recipe[name] for name in SHARED},
            "optimizer": self.optimizer,
            "lr": settings["lr"],
            "momentum": settings.get("momentum", 0.0),
            "weight_decay": settings["weight_decay"],
        }

    def changed(self, **given: Any) -> Plan:
        """Return the plan with other values for some fields of its record."""
        return Plan.from_record({**self.record(), **given})

    def differences(self, given: Mapping[str, Any]) -> list[str]:
        """Return, as text, where the plan has another value than was `given`."""
        record = self._record()
        return [
            f"{name.replace('_', '-')} {_text(record[name])}, but {_text(value)} was asked for"
            for name, value in given.items()
            if record[name] != value
        ]

    @property
    def optimizer(self) -> str:
        """The optimizer's name on the command line."""
        if self.recipe.settings.get("nesterov"):
            return "nesterov"
        return self.recipe.optimizer.lower()

    def recipe_in(self, epoch: int) -> Recipe:
        """Return the recipe of an epoch, counted from 0, with what is frozen in it."""
        if not self.tuning.freezes(epoch):
            return self.recipe
        frozen = frozen_names(self.network, self.options, self.tuning.freeze)
        return replace(self.recipe, frozen=tuple(frozen))

    def lr_of(self) -> Callable[[int], float] | None:
        """Return the learning rate of each step, by its number; None where it never changes."""
        steps = -(-self.train_images // self.recipe.batch)
        return self.tuning.lr_of(float(self.recipe.settings["lr"]), self.epochs, steps)

    @property
    def summary(self) -> str:
        """Size, batch and optimizer, for the title of a picture."""
        return (
            f"{self.height}x{self.width}, batch {self.recipe.batch}, "
            f"{self.optimizer} lr {self.recipe.settings['lr']:g}"
        )

    @property
    def inputs(self) -> Inputs:
        """What the network expects when it is trained."""
        return Inputs(self.height, self.width, self.pixels, self.classes)

    @property
    def feed(self) -> Feed:
        """What makes the batches."""
        return Feed(
            (self.height, self.width), int(self.options["in_channels"]), self.recipe.batch,
            self.recipe.seed, self.augment, self.pixels,
        )  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _require(values: Mapping[str, Any]) -> None:
    """Raise InputError with everything that is wrong."""
    wrong = []
    choices: dict[str, tuple[str, ...]] = {
        "backend": catalogue.default_backends(),
        "optimizer": tuple(OPTIMIZERS),
        "augment": AUGMENTATIONS,
        "pixels": PIXELS,
        "precision": PRECISIONS,
        "device": ("cpu", "gpu"),
        "schedule": SCHEDULES,
    }
    for name, known in choices.items():
        if values[name] not in known:
            hint = nearest(values[name], known)
            wrong.append(f"--{name} {values[name]}{hint}, but should be one of {', '.join(known)}")
    least_of = {"epochs": 1, "batch": 1, "threads": 1, "seed": 0}
    least_of |= {"unfreeze_after": 0, "warmup": 0, "patience": 0}
    for name, least in least_of.items():
        if values[name] < least:
            flag = name.replace("_", "-")
            wrong.append(f"--{flag} {values[name]}, but should be {least} or more")
    shares = {"momentum": 1.0, "label_smoothing": 1.0}  # less than that, not up to it
    limits = {**shares, "lr": math.inf, "weight_decay": math.inf, "aux_weight": math.inf}
    wrong += [
        f"--{name.replace('_', '-')} {values[name]:g}, but should be at least 0 and "
        + ("less than 1" if name in shares else "finite")
        for name, limit in limits.items()
        if values[name] is not None and not 0 <= values[name] < limit
    ]
    if values["optimizer"] not in MOMENTUM and values["momentum"]:
        wrong.append("--momentum goes with --optimizer sgd or nesterov")
    if values["optimizer"] == "nesterov" and not values["momentum"]:
        wrong.append("--optimizer nesterov needs a --momentum of more than 0")
    if values["backend"] != "pt" and (values["precision"] != "float32" or values["channels_last"]):
        wrong.append("--precision bfloat16 and --channels-last are PyTorch's: give --backend pt")
    channels = int(values["options"]["in_channels"])
    if values["pixels"] == "imagenet" and channels != 3:
        wrong.append(f"--pixels imagenet is for three channels, but in_channels={channels}")
    if values["unfreeze_after"] and not values["freeze"]:
        wrong.append("--unfreeze-after goes with --freeze")
    if wrong:
        raise InputError("\n  ".join(wrong))
    if values["freeze"]:
        frozen_names(values["network"], values["options"], values["freeze"])
