"""What is trained in a training check: a recipe, batches, labels, dropout's masks.

Everything that a framework would draw or shuffle is given here, the same to all,
and depends on seeds and names alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.recipe import Recipe
from ..errors import InputError, nearest
from ..networks import catalogue
from ..traces.freezing import frozen_names

# Powers of two, since MXNet's fused operators round to float32. Rates are small: at 2^-13 one step
# of SGD moves the first norm of InceptionV2, with seeded weights, by 0.65 of its size, losses jump,
# and differences grow up to a thousandfold in each. At 2^-20 all of InceptionV3 still moves, each
# array by 1e-8 of its size or more.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 2.0**-20}),
    "momentum": ("SGD", {"lr": 2.0**-20, "momentum": 0.9}),
    "nesterov": ("SGD", {"lr": 2.0**-20, "momentum": 0.9, "nesterov": True}),
    "decay": ("SGD", {"lr": 2.0**-20, "momentum": 0.9, "weight_decay": 2.0**-8}),
    "adam": ("Adam", {"lr": 2.0**-16}),
    "rmsprop": ("RMSProp", {"lr": 2.0**-16, "decay": 0.875, "eps": 1.0}),
}
LABEL_SMOOTHING = 0.1  # as in Szegedy et al. 2015
NOISE = 1 / 8  # half the width of what is added to the images
MOST_STEPS = 1000
FIRST, LAST = "1", "K"  # steps, in the names of endpoints and quantities: `gradient.K`


@dataclass(frozen=True)
class Trial:
    """A recipe, followed for a few steps."""

    recipe: Recipe
    steps: int

    @property
    def last(self) -> str:
        """The last step, in the names of endpoints."""
        return LAST if self.steps > 1 else FIRST

    def record(self) -> dict[str, Any]:
        """Return what traces and reports say of the trial."""
        recipe = self.recipe
        return {
            "optimizer": recipe.optimizer,
            "settings": dict(recipe.settings),
            "epsilon": recipe.label_smoothing,
            "aux_weight": recipe.aux_weight,
            "batch": recipe.batch,
            "steps": self.steps,
            "frozen": list(recipe.frozen),
            "seed": recipe.seed,
        }

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(self.record(), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Trial:
        """Turn what `text` returned back into a trial."""
        fields = json.loads(text)
        steps, epsilon = fields.pop("steps"), fields.pop("epsilon")
        return cls(Recipe(**fields, label_smoothing=epsilon), steps)


def make_trial(
    network: str,
    options: Mapping[str, Any],
    *,
    optimizer: str = "momentum",
    lr: float | None = None,
    batch: int = 4,
    steps: int = 3,
    frozen: tuple[str, ...] = (),
) -> Trial:
    """Return a trial for a network.

    Args:
        network: a network of the catalogue.
        options: its options, resolved.
        optimizer: a name of PRESETS.
        lr: learning rate; None for the preset's.
        batch: images in a step.
        steps: number of steps, each on other images.
        frozen: layers, by their dotted names, whose arrays aren't trained, or `all-but-head`.

    Raises:
        InputError: no such optimizer or layer, or a number that can't be used.
    """
    if optimizer not in PRESETS:
        raise InputError(
            f"no optimizer {optimizer!r}{nearest(optimizer, PRESETS)}; "
            f"there are: {', '.join(PRESETS)}"
        )
    if lr is not None and not 0.0 < lr < 1e6:
        raise InputError(f"lr {lr:g}, but should be more than 0")
    if batch < 1:
        raise InputError(f"batch {batch}, but should be 1 or more")
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"steps {steps}, but should be 1 to {MOST_STEPS}")
    chosen = frozen_names(network, options, frozen)
    kind, settings = PRESETS[optimizer]
    if lr is not None:
        settings = {**settings, "lr": float(lr)}
    aux_weight = catalogue.network(network).aux_weight
    return Trial(Recipe(kind, settings, LABEL_SMOOTHING, aux_weight, batch, frozen=chosen), steps)


def definition(recipe: Recipe) -> Any:
    """Return the recipe's optimizer as it is defined: in NumPy, before its first step."""
    import inception_np

    return getattr(inception_np, recipe.optimizer)(**recipe.settings)


def batches(
    images: NDArray[np.float64], classes: int, trial: Trial
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield (images, labels) for each step: the images in turn, every second round mirrored.

    Noise is added: where a photograph is flat, windows of a max pool hold equal values,
    and each framework sends the gradient to a different one. Labels are assigned, not true:
    image i is of class 7 i + 3, modulo the number of classes.
    """
    size, seed = trial.recipe.batch, trial.recipe.seed
    for step in range(trial.steps):
        numbers = range(step * size, (step + 1) * size)
        chosen = []
        for number in numbers:
            turn, index = divmod(number, len(images))
            image = images[index, :, :, ::-1] if turn % 2 else images[index]
            noise = np.random.default_rng((seed, number)).random(image.shape)
            chosen.append(image + NOISE * (2 * noise - 1))
        labels = np.array([(7 * number + 3) % classes for number in numbers], dtype=np.int64)
        yield np.stack(chosen), labels


def dropout_factors(
    seed: int, step: int, path: str, shape: tuple[int, ...], p: float
) -> NDArray[np.float64]:
    """Return the factors of a dropout layer: each 0, with the probability p, or 1 / (1 - p).

    Steps are counted from 0; `shape` is that of the layer's input in the shared layout.
    """
    entropy = hashlib.sha256(f"{seed} {step} {path}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(entropy, "little"))
    factors: NDArray[np.float64] = (rng.random(shape) >= p) / (1.0 - p)
    return factors


def endpoint(quantity: str, name: str) -> str:
    """Return the endpoint with a quantity of an array, or the whole quantity for no name."""
    return f"{quantity} {name}" if name else quantity
