"""A network with trained weights, and what belongs to them: preprocessing and names of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import pretrained
from ..conversion.converting import read
from ..conversion.found import Claim, Found
from ..conversion.identifying import identify
from ..data import images
from ..errors import InputError, nearest, reading
from ..libraries import SHARED
from ..networks import catalogue
from ..pretrained.classes import names_of
from ..traces.weights import SharedWeights
from ..training import checkpoint
from ..training.inputs import Inputs

Prepare = Callable[[Path], NDArray[Any]]  # an image file -> (C, H, W)
OWN = "inception-parity"  # the preprocessing of `check`, for weights that no library made


@dataclass(frozen=True)
class Classifier:
    """What is needed to classify photographs.

    Args:
        title: what messages call the weights.
        weights: the weights, with network and options.
        prepare: reads an image file, and does what the weights expect; InputError if it can't.
        preprocessing: what that is called.
        names: of the classes, in the order of the logits.
        notes: what else is worth knowing.
    """

    title: str
    weights: SharedWeights = field(repr=False)
    prepare: Prepare = field(repr=False)
    preprocessing: str
    names: Sequence[str] = field(repr=False)
    notes: tuple[str, ...] = ()


def classifier(
    name: Path, claim: Claim, preprocessing: str | None, say: Callable[[str], None]
) -> Classifier:
    """Return the classifier of a name of the index, a file of weights, or a training.

    Args:
        name: one of them; a training is a folder that `train` made, or the checkpoint in it.
        claim: what is said about a file.
        preprocessing: one of the index, or the name of weights whose it is; by default the one that
            belongs to the weights.
        say: told in lines how far a download is.

    Raises:
        InputError: there is nothing of that name, it can't be used, or it has no classifier.
    """
    if name.is_dir() or (name.suffix == ".safetensors" and name.is_file() and is_training(name)):
        return _of_training(name, preprocessing)
    named = pretrained.known(name)
    if named is not None and not named.head:
        raise InputError(f"{named.name}: has no classifier, only features; give other weights")
    found = identify(name, claim, say)
    shared = read(found)
    trained = trained_inputs(name, shared)
    if trained is not None and preprocessing is None:
        return _as_trained(str(name), shared, trained, found.assumed)
    entry, note = (named, "") if named is not None else related(found, shared)
    notes = (*found.assumed, *((note,) if note and preprocessing is None else ()))
    if preprocessing is not None:
        steps = preprocessing_of(preprocessing)
    else:
        steps = None if entry is None else entry.preprocessing
    names = _class_names(shared, trained, entry)
    title = str(name) if named is None else named.name
    return Classifier(title, shared, _preparing(steps, shared), _called(steps), names, notes)


def is_training(path: Path) -> bool:
    """Return whether a safetensors file is a checkpoint; one that is none at all, isn't."""
    try:
        return checkpoint.is_checkpoint(path)
    except InputError:
        return False


def preprocessing_of(name: str) -> pretrained.Preprocessing | None:
    """Return a preprocessing by its own name or that of weights; None for that of `check`."""
    known: dict[str, pretrained.Preprocessing | None] = {OWN: None}
    for entry in pretrained.entries().values():
        known |= {entry.name: entry.preprocessing, entry.preprocessing.name: entry.preprocessing}
    if name not in known:
        own = sorted(choice for choice in known if "/" not in choice)
        raise InputError(
            f"no preprocessing {name!r}{nearest(name, known)}; there are: {', '.join(own)}"
        )
    return known[name]


def _of_training(path: Path, preprocessing: str | None) -> Classifier:
    """Return what a training has made so far, with its own preprocessing and classes."""
    if preprocessing is not None:
        raise InputError(f"{path}: a training has a preprocessing of its own; name no other")
    start = checkpoint.read(path)
    plan = start.plan
    shared = SharedWeights(plan.network, dict(plan.options), f"trained, {path.name}", start.weights)
    return _as_trained(str(path), shared, plan.inputs)


def _as_trained(
    title: str, shared: SharedWeights, inputs: Inputs, notes: tuple[str, ...] = ()
) -> Classifier:
    """Return the classifier of weights that were trained here, with images as in the training."""
    channels = int(shared.options["in_channels"])
    return Classifier(
        title, shared, lambda file: inputs.prepare(file, channels),
        f"of the training: {inputs.title}", _class_names(shared, inputs, None), notes,
    )  # fmt: skip


def _class_names(
    shared: SharedWeights, trained: Inputs | None, entry: pretrained.Entry | None
) -> Sequence[str]:
    """Return a name for each logit: the training's, or those of an entry of the index."""
    count = int(shared.options["num_classes"])
    if trained is not None and trained.classes and len(trained.classes) <= count:
        return (*trained.classes, *names_of("", count)[len(trained.classes) :])
    return names_of(entry.classes if entry else "", count)


def trained_inputs(path: Path, shared: SharedWeights) -> Inputs | None:
    """Return how images were prepared in the training that weights come from; None: not known.

    Raises:
        InputError: the file at `path` says something of it that can't be understood.
    """
    with reading(path, "broken metadata"):
        return Inputs.of(shared)


def expected_inputs(name: Path, found: Found, shared: SharedWeights) -> tuple[Inputs | None, str]:
    """Return how `train` is to prepare images for weights, and who says so.

    Args:
        name: as they were named: a file, or a name of the index.
        found: what that is.
        shared: its weights.

    Returns:
        What comes nearest to what they were trained with, and whose it is; None if it isn't known.

    Raises:
        InputError: the file says something of it that can't be understood.
    """
    trained = trained_inputs(name, shared)
    if trained is not None:
        return trained, str(name)
    named = pretrained.known(name)
    entry = named if named is not None else related(found, shared)[0]
    if entry is None:
        return None, ""
    height, width = entry.preprocessing.size or catalogue.network(shared.network).size
    return Inputs(height, width, entry.preprocessing.pixels), entry.name


def related(found: Found, shared: SharedWeights) -> tuple[pretrained.Entry | None, str]:
    """Return the entry of a file's weights: the same file, or another one of that library.

    Returns:
        The entry, if there is one, and a note if it is another file's.
    """
    library, sha256 = found.library, found.sha256
    if library == SHARED:
        source = shared.history.get("source", {})
        library, sha256 = source.get("library", SHARED), source.get("sha256", "")
    alike = [
        entry
        for entry in pretrained.entries().values()
        if entry.library == library and entry.network == found.network and entry.head
    ]
    for entry in alike:
        algorithm, _, digits = entry.digest.partition(":")
        if algorithm == "sha256" and sha256.startswith(digits):
            return entry, ""
    if not alike:
        return None, ""
    entry = alike[0]
    return entry, (
        f"preprocessing {entry.preprocessing.name}, that of {entry.name}; if the network was "
        "trained with another one, name it with --preprocessing"
    )


def _called(steps: pretrained.Preprocessing | None) -> str:
    return OWN if steps is None else steps.name


def _preparing(steps: pretrained.Preprocessing | None, shared: SharedWeights) -> Prepare:
    """Return what prepares an image file for a network."""
    channels = int(shared.options["in_channels"])
    if steps is None:
        size = catalogue.network(shared.network).size
        return lambda file: images.load([file], size, channels)[0]
    if channels != 3:
        raise InputError(
            f"in_channels={channels}, but {steps.name} gives three; name --preprocessing {OWN}"
        )
    return lambda file: steps(images.decoded(file, "RGB"))
