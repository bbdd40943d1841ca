"""What decides what a training comes to: a network, data, and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..data.feed import AUGMENTATIONS, PIXELS, Feed
from ..errors import InputError, nearest
from ..networks import catalogue
from ..workers.processes import cores

OPTIMIZERS = {"sgd": "SGD", "nesterov": "SGD", "adam": "Adam", "rmsprop": "RMSProp"}
PRECISIONS = ("float32", "bfloat16")

# What may be left out; None where it depends on something else.
DEFAULTS: dict[str, Any] = {
    "backend": "pt", "epochs": 10, "batch": 128, "optimizer": "sgd", "lr": None, "momentum": None,
    "weight_decay": 0.0, "label_smoothing": 0.0, "aux_weight": None, "init": "d2l", "seed": 0,
    "augment": "none", "pixels": "signed", "precision": "float32", "channels_last": False,
    "threads": None, "device": "cpu",
}  # fmt: skip
LR = {"sgd": 0.1, "nesterov": 0.1, "adam": 1e-3, "rmsprop": 0.045}
MOMENTUM = {"sgd": 0.0, "nesterov": 0.9}


@dataclass(frozen=True)
class Recipe:
    """All that the weights depend on; what isn't here makes no difference to them.

    Threads and device are here: sums are taken in another order with others.
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
    batch: int
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    label_smoothing: float
    aux_weight: float
    init: str  # d2l, seeded, or a file
    seed: int
    augment: str
    pixels: str
    precision: str
    channels_last: bool
    threads: int
    device: str

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Recipe:
        """Return a recipe with defaults for what isn't `given`.

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
        return cls(**values)

    def differences(self, given: Mapping[str, Any]) -> list[str]:
        """Return what is `given` otherwise than it is here, as text."""
        return [
            f"{name.replace('_', '-')} {_text(getattr(self, name))}, "
            f"but {_text(value)} was asked for"
            for name, value in given.items()
            if getattr(self, name) != value
        ]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a checkpoint.

        Raises:
            ValueError: it isn't one.
        """
        names = {f.name for f in fields(cls)}
        if set(record) != names:
            raise ValueError(f"a recipe has other fields: {sorted(names ^ set(record))}")
        return cls(**record)

    @property
    def feed(self) -> Feed:
        """What makes the batches."""
        return Feed(
            (self.height, self.width), int(self.options["in_channels"]), self.batch, self.seed,
            self.augment, self.pixels,
        )  # fmt: skip

    def optimizer_arguments(self) -> dict[str, Any]:
        """Return the arguments that the packages' optimisers share."""
        found: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if OPTIMIZERS[self.optimizer] == "SGD":
            found.update(momentum=self.momentum, nesterov=self.optimizer == "nesterov")
        return found


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _require(values: Mapping[str, Any]) -> None:
    """Raise InputError with all that is wrong."""
    wrong = []
    choices: dict[str, tuple[str, ...]] = {
        "backend": catalogue.default_backends(),
        "optimizer": tuple(OPTIMIZERS),
        "augment": AUGMENTATIONS,
        "pixels": PIXELS,
        "precision": PRECISIONS,
        "device": ("cpu", "gpu"),
    }
    for name, known in choices.items():
        if values[name] not in known:
            hint = nearest(values[name], known)
            wrong.append(f"--{name} {values[name]}{hint}, but should be one of {', '.join(known)}")
    for name, least in {"epochs": 1, "batch": 1, "threads": 1, "seed": 0}.items():
        if values[name] < least:
            wrong.append(f"--{name} {values[name]}, but should be {least} or more")
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
    if wrong:
        raise InputError("\n  ".join(wrong))
