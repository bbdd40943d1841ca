"""What a file of weights is: whose, of which network, with which options.

The content decides, never the file's name: the names and shapes of arrays, a model's
description where there is one, and what our own files state. What a file can't tell is
assumed aloud, and settled by `--from`, `--network` and `--set`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import formats, libraries
from ..errors import InputError, reading
from ..formats import Content
from ..libraries import ONNX, SHARED, Library, torchvision
from ..networks import catalogue
from ..traces import weights
from .found import Found

FID_CLASSES = 1008  # of the network that the FID metric is made with
BACKGROUND = 1001  # ImageNet's classes, and one before them


def identify(
    path: Path,
    library: str | None = None,
    network: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Found:
    """Find out what a file is.

    Args:
        path: a file of any format in `formats`.
        library: whose it is, where that is in doubt; `onnx` is said of a file that runs.
        network: our name of the network, where that is in doubt.
        settings: options that the file can't tell; `use_aux=False` leaves heads out, and
            `return_aux=True` lets them run.

    Raises:
        InputError: the file can't be read, is nothing that is known here, or isn't
            what it was said to be.
    """
    if library not in (None, SHARED, ONNX):
        libraries.module(str(library))
    if network is not None:
        catalogue.network(network)
    content = formats.read(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return recognise(path, content, sha256, library, network, settings)


def recognise(
    path: Path,
    content: Content,
    sha256: str,
    library: str | None = None,
    network: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Found:
    """Find out what a file is that has been read; the other arguments are `identify`'s."""
    if library == ONNX:
        if content.format != ONNX:
            raise InputError(f"{path}: of format {content.format}, and not an ONNX file")
        library = None
    if {"network", "options"} <= set(content.metadata):  # our own files state what they are
        if library not in (None, SHARED):
            raise InputError(f"{path}: a file of shared weights, and not of {library}")
        return _ours(path, content, network, settings or {}, sha256)
    if library == SHARED:
        raise InputError(f"{path}: not a file of shared weights: its metadata don't say so")
    chosen, name = _best(path, content, library, network)
    return _theirs(path, content, chosen, name, settings or {}, sha256, library is not None)


def _ours(
    path: Path, content: Content, network: str | None, settings: Mapping[str, Any], sha256: str
) -> Found:
    """Take a file at its word: ours state their network and options."""
    with reading(path, "broken metadata"):
        stated = content.metadata["options"]
        stated = dict((json.loads(stated) if isinstance(stated, str) else stated).items())
        name = str(content.metadata["network"])
        options = dict(catalogue.network(name).resolve(stated))
    if network not in (None, name):
        raise InputError(f"{path}: weights of {name}, but should be of {network}")
    asked = catalogue.network(name).resolve({**options, **settings})
    left_out: tuple[str, ...] = ()
    names = _shared_names(name, options)
    if options.get("use_aux") and not asked["use_aux"]:
        options |= {"use_aux": False, "return_aux": False}
        kept = _shared_names(name, options)
        left_out, names = tuple(n for n in names if n not in kept), kept
    _settle(path, options, asked, settings)
    return Found(
        path, content, SHARED, name, options, {n: n for n in names},
        left_out=left_out, sha256=sha256,
    )  # fmt: skip


def _settle(
    path: Path, options: dict[str, Any], asked: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Take over whether heads run in inference, which no weights depend on.

    Raises:
        InputError: the file contradicts one of the settings.
    """
    if options.get("use_aux"):
        options["return_aux"] = asked["return_aux"]
    for option in settings:
        if asked[option] != options[option]:
            raise InputError(
                f"{path}: {option}={str(options[option]).lower()} as the file has it, but "
                f"{str(asked[option]).lower()} was asked for"
            )


def _shared_names(network: str, options: Mapping[str, Any]) -> list[str]:
    return _names_with(network, tuple(options.items()))


@functools.lru_cache(maxsize=32)
def _names_with(network: str, options: tuple[tuple[str, Any], ...]) -> list[str]:
    return list(weights.shapes(network, dict(options)))


def _largest(info: Library, network: str) -> dict[str, Any]:
    """Return the options with which a library's network has most arrays."""
    version = info.networks[network]
    aux = {"use_aux": True} if "use_aux" in version.free else {}
    return dict(catalogue.network(network).resolve({**version.fixed, **aux}))


def _candidates(
    content: Content, library: str | None, network: str | None
) -> Iterator[tuple[float, Library, str]]:
    """Yield (share of its arrays that are there, library, network)."""
    for info in libraries.all_libraries():
        if library not in (None, info.name) or content.format not in info.formats:
            continue
        for name in info.networks:
            if network not in (None, name):
                continue
            options = {**_largest(info, name), "use_aux": False}
            shared = _shared_names(name, options)
            theirs = libraries.module(info.name).names(name, shared, content)
            there = sum(theirs[n] in content.arrays for n in shared)
            yield there / len(shared), info, name


def _best(
    path: Path, content: Content, library: str | None, network: str | None
) -> tuple[Library, str]:
    candidates = list(_candidates(content, library, network))
    if not candidates:
        fits = [i.name for i in libraries.all_libraries() if content.format in i.formats]
        asked = f"--from {library} " * bool(library) + f"--network {network} " * bool(network)
        raise InputError(
            f"{path}: of format {content.format}, and not one of ours; such files are read of "
            f"{', '.join(fits)}, which isn't what {asked}says"
        )
    share, info, name = max(candidates, key=lambda candidate: candidate[0])
    if share < 0.5:
        examples = ", ".join(list(content.arrays)[:3]) or "none"
        raise InputError(
            f"{path}: weights of no network that is known here: {len(content.arrays)} arrays "
            f"({examples} …); nearest is {info.title} {info.networks[name].title}, of whose "
            f"arrays it has {share:.0%}"
        )
    return info, name


def _theirs(
    path: Path, content: Content, info: Library, network: str, settings: Mapping[str, Any],
    sha256: str, settled: bool,
) -> Found:  # fmt: skip
    """Work out the options of a library's file, from shapes and from what is there."""
    version, module = info.networks[network], libraries.module(info.name)
    assumed, notes = list[str](), list[str]()
    largest = _largest(info, network)
    all_names = module.names(network, _shared_names(network, largest), content)
    options = {**largest, "return_aux": False}
    _read_counts(path, content, info, network, options, all_names)
    kept = _shared_names(network, {**options, "use_aux": False})
    heads = [theirs for ours, theirs in all_names.items() if ours not in kept]
    if "use_aux" in version.free:
        options["use_aux"] = any(theirs in content.arrays for theirs in heads)
    asked = catalogue.network(network).resolve({**options, **settings})
    left_out: tuple[str, ...] = ()
    if options["use_aux"] and asked["use_aux"] is False:
        options["use_aux"], left_out = False, tuple(heads)
        notes.append("its auxiliary heads are left out, as asked for")
    for option in version.unstated:
        trained = sha256[:8] in torchvision.TRAINED
        options[option] = asked[option] if option in settings else trained
        if option not in settings and not trained:
            assumed.append(
                f"{option}=false; a state dict doesn't tell. If the network was made with "
                f"{option}=True, as torchvision's trained ones are, give --set {option}=true"
            )
    _settle(path, options, asked, settings)
    if info.name == "torchvision" and not settled and network == "inception_v3":
        assumed.append("from torchvision; timm's has the same names, and computes the same")
    _refuse_other_networks(path, content, info, options, settled)
    if options["num_classes"] == BACKGROUND:
        notes.append("1001 classes: the first is background, and ImageNet's begin at 1")
    names = {n: all_names[n] for n in _shared_names(network, options)}
    dtypes = sorted(
        {content.dtypes[n] for n in names.values() if n in content.arrays} - {"float32"}
    )
    for dtype in dtypes:
        exact = dtype in ("float16", "bfloat16")
        notes.append(f"{dtype}, {'widened exactly' if exact else 'rounded'} to float32")
    return Found(
        path, content, info.name, network, options, names,
        left_out, tuple(assumed), tuple(notes), sha256,
    )  # fmt: skip


def _read_counts(
    path: Path, content: Content, info: Library, network: str, options: dict[str, Any],
    names: Mapping[str, str],
) -> None:  # fmt: skip
    """Read the numbers of classes and of channels off the shapes, if the rest of them fits."""
    expected = weights.shapes(network, options)
    *_, classifier = (name for name in expected if name.endswith(".weight"))
    if names[classifier] not in content.arrays:
        raise InputError(
            f"{path}: taken for {info.title} {info.networks[network].title}, but it has no "
            f"classifier ({names[classifier]}); weights without the top can't be converted"
        )
    for option, name, axis in (
        ("num_classes", classifier, 0),
        ("in_channels", next(iter(expected)), 1),
    ):
        if option in info.networks[network].fixed or names[name] not in content.arrays:
            continue
        shape = list(info.to_shared(content.arrays[names[name]]).shape)
        wanted = list(expected[name])
        if len(shape) == len(wanted):
            number, shape[axis] = shape[axis], wanted[axis]
            if shape == wanted and 1 <= number <= catalogue.MOST:
                options[option] = number


def _refuse_other_networks(
    path: Path, content: Content, info: Library, options: Mapping[str, Any], settled: bool
) -> None:
    """Raise InputError for networks that have a known one's names, and compute otherwise."""
    if options["num_classes"] == FID_CLASSES and info.backend == "pt" and not settled:
        raise InputError(
            f"{path}: {FID_CLASSES} classes, as the network of the FID metric has, whose pools are "
            f"others; if it is {info.title}'s all the same, say --from {info.name}"
        )
    config = content.metadata.get("config") or {}
    epsilons = {float(e) for e in _values(config, "epsilon") if isinstance(e, int | float)}
    if epsilons - {1e-3}:
        raise InputError(
            f"{path}: batch norm with epsilon {', '.join(f'{e:g}' for e in sorted(epsilons))}, but "
            "keras.applications.InceptionV3 has 0.001; it is another network"
        )


def _values(config: Any, key: str) -> Iterable[Any]:
    """Yield what is called `key` in the settings of a model's layers."""
    layers: Sequence[Any] = []
    if isinstance(config, dict) and isinstance(config.get("config"), dict):
        layers = config["config"].get("layers") or []
    for layer in layers if isinstance(layers, list) else []:
        settings = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(settings, dict) and key in settings:
            yield settings[key]
