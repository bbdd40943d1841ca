"""Options of every command that trains a network, and the plan that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import datasets
from ..data.feed import DataSet
from ..data.images import parse_size
from ..errors import InputError, few
from ..networks import catalogue
from ..networks.empty_batch import require_size
from ..networks.summary import values_per_channel
from ..training.plan import Plan
from .arguments import parse_settings


@dataclass(frozen=True)
class DataOptions:
    """The data to train or test on, and how many of them are used."""

    data: str | None = None
    data_folder: Path | None = None
    test_images: int | None = None

    def load(self, say: Callable[[str], None], train_images: int | None = None) -> DataSet:
        """Return the data that are named."""
        assert self.data is not None
        found = datasets.load(self.data, self.data_folder, say)
        return found.limited(train_images, self.test_images)

    def load_same(self, plan: Plan, say: Callable[[str], None]) -> DataSet:
        """Return the data that a plan names.

        Raises:
            InputError: others are asked for, or found.
        """
        if self.data not in (None, plan.data):
            raise InputError(f"a training on {plan.data}, but --data {self.data} was asked for")
        found = datasets.load(plan.data, self.data_folder, say)
        if found.digest != plan.data_digest:
            raise InputError(
                f"{plan.data}: not the data that the training began with (from {found.note}); "
                "give --data-folder"
            )
        return found.limited(plan.train_images, plan.test_images)


class PlanFields:
    """Options that are fields of a plan's record; None: not given."""

    def given(self) -> dict[str, Any]:
        """Return the fields of a plan's record that were given; `--set` isn't among them."""
        named = given(**vars(self))
        named.pop("settings", None)
        size = named.pop("size", None)
        sides = () if size is None else zip(("height", "width"), parse_size(size), strict=True)
        return {**dict(sides), **named}


@dataclass(frozen=True)
class PlanOptions(PlanFields):
    """How a network is trained."""

    size: str | None = None
    settings: list[str] | None = None
    batch: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    init: str | None = None
    seed: int | None = None
    augment: str | None = None
    pixels: str | None = None

    def plan(
        self, network: str, data: DataSet, found: Mapping[str, Any] | None = None, **more: Any
    ) -> Plan:
        """Return the plan of a new training, and refuse what can't be used.

        Args:
            network: its name.
            data: what to train on.
            found: options of the weights that it begins with.
            more: other fields of its record.
        """
        known = catalogue.network(network)
        by_data = {"in_channels": data.channels, **(found or {}), "num_classes": len(data.classes)}
        options = known.resolve({**by_data, **parse_settings(self.settings)})
        if int(options["num_classes"]) < len(data.classes):
            raise InputError(
                f"num_classes={options['num_classes']}, but {data.name} has {len(data.classes)} "
                f"({few(data.classes)}); give that many or more, or leave it out"
            )
        if options["in_channels"] not in (1, 3):
            raise InputError(
                f"in_channels={options['in_channels']}, but images have 1 or 3 channels"
            )
        made = plan_of(network, options, data, **{**self.given(), **more})
        heads = {"return_aux": True} if options.get("use_aux") else {}  # they run in training
        require_size(known, {**options, **heads}, (made.height, made.width))
        _require_last_batch(made)
        return made


def given(**values: Any) -> dict[str, Any]:
    """Return those values that were given, which None is not."""
    return {name: value for name, value in values.items() if value is not None}


def plan_of(network: str, options: dict[str, Any], data: DataSet, **more: Any) -> Plan:
    """Return a plan for a data set, with images of the network's own size by default."""
    height, width = catalogue.network(network).size
    return Plan.make({
        "network": network, "options": options, "data": data.name, "data_digest": data.digest,
        "train_images": len(data.train), "test_images": len(data.test),
        "classes": data.classes, "height": height, "width": width, **more,
    })  # fmt: skip


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
