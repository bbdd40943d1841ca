"""What is trained in a training check: optimiser, loss, batches, labels, dropout's masks.

Everything that a framework would draw or shuffle is given here, the same to all,
and depends on seeds and names alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, nearest
from ..networks import catalogue

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
EPSILON = 0.1  # of label smoothing, as in Szegedy et al. 2015
NOISE = 1 / 8  # half the width of what is added to the images
MOST_STEPS = 1000


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    optimizer: str  # the name of a class that every package has
    settings: dict[str, Any]  # its arguments
    epsilon: float
    aux_weight: float
    batch: int
    steps: int
    frozen: tuple[str, ...] = ()  # arrays that aren't trained, by their shared names
    seed: int = 0

    def text(self) -> str:
        """Return the recipe as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Recipe:
        """Turn JSON back into a recipe."""
        fields = json.loads(text)
        return cls(**{**fields, "frozen": tuple(fields["frozen"])})


def make_recipe(
    network: str,
    options: Mapping[str, Any],
    *,
    optimizer: str = "momentum",
    lr: float | None = None,
    batch: int = 4,
    steps: int = 3,
    frozen: tuple[str, ...] = (),
) -> Recipe:
    """Return a recipe for a network.

    Args:
        network: a network of the catalogue.
        options: its options, resolved.
        optimizer: a name of PRESETS.
        lr: learning rate; None for the preset's.
        batch: images in a step.
        steps: number of steps, each on other images.
        frozen: layers, by their dotted names, whose arrays aren't trained.

    Raises:
        InputError: no such optimiser or layer, or a number that can't be used.
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
    kind, settings = PRESETS[optimizer]
    names = trained_arrays(network, options)
    chosen = []
    for layer in frozen:
        inside = [name for name in names if name.startswith(f"{layer}.")]
        if not inside:
            paths = {name.rpartition(".")[0] for name in names}
            raise InputError(f"{network} has no layer {layer!r} to freeze{nearest(layer, paths)}")
        chosen += inside
    return Recipe(
        kind,
        {**settings, **({} if lr is None else {"lr": float(lr)})},
        EPSILON,
        catalogue.network(network).aux_weight,
        batch,
        steps,
        tuple(chosen),
    )


def definition(recipe: Recipe) -> Any:
    """Return the recipe's optimiser as it is defined: in NumPy, before its first step."""
    from inception_np import SGD, Adam, RMSProp

    kinds = {"SGD": SGD, "Adam": Adam, "RMSProp": RMSProp}
    return kinds[recipe.optimizer](**recipe.settings)


def trained_arrays(network: str, options: Mapping[str, Any]) -> list[str]:
    """Return the shared names of all arrays that a gradient trains, in the oracle's order."""
    net = catalogue.network(network).build("inception_np", options)
    return [
        f"{path}.{name}"
        for path, module in net.named_modules()
        for name in module.arrays()
        if name not in module.buffers
    ]


def batches(
    images: NDArray[np.float64], classes: int, recipe: Recipe
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield (images, labels) for each step: the images in turn, every second round mirrored.

    Noise is added: where a photograph is flat, windows of a max pool hold equal values,
    and each framework sends the gradient to another of them. Labels are given, not true:
    image i is of class 7 i + 3, modulo the number of classes.
    """
    for step in range(recipe.steps):
        numbers = range(step * recipe.batch, (step + 1) * recipe.batch)
        chosen = []
        for number in numbers:
            turn, index = divmod(number, len(images))
            image = images[index, :, :, ::-1] if turn % 2 else images[index]
            noise = np.random.default_rng((recipe.seed, number)).random(image.shape)
            chosen.append(image + NOISE * (2 * noise - 1))
        labels = np.array([(7 * number + 3) % classes for number in numbers], dtype=np.int64)
        yield np.stack(chosen), labels


def dropout_factors(
    recipe: Recipe, step: int, path: str, shape: tuple[int, ...], p: float
) -> NDArray[np.float64]:
    """Return what a dropout layer multiplies by in a step: each 0, or 1 / (1 - p).

    Args:
        recipe: for its seed.
        step: the number of the step, from 0.
        path: the layer's dotted name.
        shape: of the layer's input in the shared layout.
        p: the probability of 0.
    """
    entropy = hashlib.sha256(f"{recipe.seed} {step} {path}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(entropy, "little"))
    factors: NDArray[np.float64] = (rng.random(shape) >= p) / (1.0 - p)
    return factors


def values_per_channel(
    network: str, options: Mapping[str, Any], size: tuple[int, int], batch: int
) -> dict[str, int]:
    """Return how many values each batch norm of a network averages over, in training.

    An empty batch goes through the oracle, with its heads: all shapes, no arithmetic.

    Raises:
        InputError: the network doesn't take images of this size in training, or a
            batch norm gets a single value.
    """
    known = catalogue.network(network)
    heads = {"return_aux": True} if options.get("use_aux") else {}
    net = known.build("inception_np", {**options, **heads})
    counts: dict[str, int] = {}

    def count(path: str) -> Any:
        def hook(_: Any, args: tuple[Any, ...], output: Any) -> None:
            counts[path] = batch * args[0].shape[2] * args[0].shape[3]

        return hook

    for path, module in net.named_modules():
        if "running_var" in module.buffers:
            module.hooks.append(count(path))
    try:
        net(np.zeros((0, int(options["in_channels"]), *size)))
    except ValueError as error:
        raise InputError(
            f"{network} can't be trained on images of {size[0]}x{size[1]} ({error}); give a "
            f"larger --size{', or --set use_aux=false' if heads else ''}"
        ) from error
    single = next((path for path, n in counts.items() if n < 2), None)
    if single is not None:
        raise InputError(
            f"{network} can't be trained on {batch} image of {size[0]}x{size[1]}: batch norm "
            f"{single} gets one value per channel; give a larger --size or --batch"
        )
    return counts
