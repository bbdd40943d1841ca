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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import formats, libraries
from ..errors import InputError
from ..formats import Content
from ..libraries import ONNX, SHARED, Library, torchvision
from ..networks import catalogue
from ..traces import weights

FID_CLASSES = 1008  # of the network that the FID metric is made with
BACKGROUND = 1001  # ImageNet's classes, and one before them


@dataclass(frozen=True)
class Found:
    """What a file turned out to be.

    Args:
        path: the file.
        content: what it holds.
        library: `shared` for files of ours, else one of `libraries.LIBRARIES`.
        network: our name of the network.
        options: all of our options.
        names: {shared name: name in the file} of all arrays that the network has.
        left_out: arrays of the file that were asked to be left out.
        assumed: what the file doesn't tell, and was taken for granted.
        notes: what else is worth knowing.
        sha256: of the file.
    """

    path: Path
    content: Content = field(repr=False)
    library: str
    network: str
    options: dict[str, Any]
    names: Mapping[str, str] = field(repr=False)
    left_out: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def info(self) -> Library | None:
        """The library; None for files of ours."""
        return None if self.library == SHARED else libraries.module(self.library).LIBRARY

    @property
    def title(self) -> str:
        """What the file is of, as its library calls it."""
        if self.info is None:
            return f"{self.network} (shared)"
        return f"{self.info.title} {self.info.networks[self.network].title}"

    @property
    def is_our_onnx(self) -> bool:
        """Whether it is an ONNX file that was written here, which runs by itself."""
        return self.library == SHARED and self.content.format == ONNX

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The (height, width) of images that an ONNX file takes alone; None if it takes any."""
        shapes = self.content.metadata["inputs"] if self.content.format == ONNX else []
        images = [shape for shape in shapes if len(shape) == 4]
        if len(images) == 1 and min(images[0][2:]) > 0:
            return images[0][2], images[0][3]
        return None

    def array(self, name: str) -> NDArray[Any]:
        """Return the array of a shared name, in the shared layout, as float32.

        float16 and bfloat16 are widened, which is exact; float64 is rounded.
        """
        array = self.content.arrays[self.names[name]]
        shared = array if self.info is None else self.info.to_shared(array)
        return np.ascontiguousarray(shared, np.float32)

    def missing(self) -> list[str]:
        """Name the arrays that the network has and the file hasn't."""
        return [
            f"{theirs}: missing{'' if theirs == ours else f' (our {ours})'}"
            for ours, theirs in self.names.items()
            if theirs not in self.content.arrays
        ]

    def surplus(self) -> list[str]:
        """Name the arrays of the file that the network hasn't.

        The initialisers of somebody's ONNX file are its exporter's constants as well: what they
        do shows when it runs.
        """
        if self.content.format == ONNX and self.info is not None:
            return []
        known = {*self.names.values(), *self.left_out}
        return [
            f"{name}: unexpected"
            for name in self.content.arrays
            if name not in known and not name.endswith("num_batches_tracked")
        ]

    def misshapen(self) -> list[str]:
        """Name the arrays whose shape, dtype or values can't be used."""
        wrong = []
        for ours, expected in weights.shapes(self.network, self.options).items():
            array = self.content.arrays.get(self.names[ours])
            if array is None:
                continue
            name, dtype = self.names[ours], self.content.dtypes[self.names[ours]]
            shared = array if self.info is None else self.info.to_shared(array)
            if shared.shape != expected:
                wanted = expected
                if self.info is not None:  # in the layout of the file
                    wanted = self.info.from_shared(np.empty(expected, np.bool_)).shape
                wrong.append(f"{name}: shape {array.shape}, but should be {wanted}")
            elif array.dtype.kind != "f":
                wrong.append(f"{name}: dtype {dtype}, but should be floating point")
            elif not np.isfinite(array).all():
                wrong.append(f"{name}: has NaN or infinite values")
            elif not (np.abs(array) <= np.finfo(np.float32).max).all():
                wrong.append(f"{name}: has values beyond float32")
            elif ours.endswith("running_var") and (array < 0).any():
                wrong.append(f"{name}: has negative variances")
        return wrong

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all shared arrays.

        Raises:
            InputError: names every array that is missing, unexpected or unusable.
        """
        wrong = [*self.missing(), *self.surplus(), *self.misshapen()]
        if wrong:
            shown = "\n  ".join(wrong[:40])
            more = f"\n  and {len(wrong) - 40} more" if len(wrong) > 40 else ""
            raise InputError(
                f"{self.path}: taken for {self.title}, but {len(wrong)} arrays are wrong:\n"
                f"  {shown}{more}"
            )
        return {name: self.array(name) for name in self.names}


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
    return recognise(path, formats.read(path), _sha256(path), library, network, settings)


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
    if _is_ours(content):
        if library not in (None, SHARED):
            raise InputError(f"{path}: a file of shared weights, and not of {library}")
        return _ours(path, content, network, settings or {}, sha256)
    if library == SHARED:
        raise InputError(f"{path}: not a file of shared weights: its metadata don't say so")
    chosen, name = _best(path, content, library, network)
    return _theirs(path, content, chosen, name, settings or {}, sha256, library is not None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_ours(content: Content) -> bool:
    return {"network", "options"} <= set(content.metadata)


def _ours(
    path: Path, content: Content, network: str | None, settings: Mapping[str, Any], sha256: str
) -> Found:
    """Take a file at its word: ours state their network and options."""
    try:
        stated = content.metadata["options"]
        stated = dict((json.loads(stated) if isinstance(stated, str) else stated).items())
        name = str(content.metadata["network"])
        options = dict(catalogue.network(name).resolve(stated))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: broken metadata ({error!r})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if network not in (None, name):
        raise InputError(f"{path}: weights of {name}, but should be of {network}")
    asked = catalogue.network(name).resolve({**options, **settings})
    left_out: tuple[str, ...] = ()
    names = tuple(_shared_names(name, tuple(options.items())))
    if options.get("use_aux") and not asked["use_aux"]:
        options = {**options, "use_aux": False, "return_aux": False}
        kept = _shared_names(name, tuple(options.items()))
        left_out, names = tuple(n for n in names if n not in kept), tuple(kept)
    _let_heads_run(options, asked)
    for option in settings:
        if asked[option] != options[option]:
            raise InputError(
                f"{path}: {option}={options[option]}, but {asked[option]} was asked for"
            )
    return Found(
        path, content, SHARED, name, options, dict(zip(names, names, strict=True)),
        left_out=left_out, sha256=sha256,
    )  # fmt: skip


def _let_heads_run(options: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """Take over whether heads run in inference, which no weights depend on."""
    if options.get("use_aux"):
        options["return_aux"] = asked["return_aux"]


@functools.lru_cache(maxsize=32)
def _shared_names(network: str, options: tuple[tuple[str, Any], ...]) -> list[str]:
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
            shared = _shared_names(name, tuple(options.items()))
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
    all_names = module.names(network, _shared_names(network, tuple(largest.items())), content)
    options = {**largest, "return_aux": False}
    _read_counts(path, content, info, network, options, all_names)
    without = {**options, "use_aux": False}
    kept = _shared_names(network, tuple(without.items()))
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
    _let_heads_run(options, asked)
    for option in settings:
        if asked[option] != options[option]:
            raise InputError(
                f"{path}: {option}={str(options[option]).lower()} as the file has it, but "
                f"{str(asked[option]).lower()} was asked for"
            )
    if info.name == "torchvision" and not settled and network == "inception_v3":
        assumed.append("from torchvision; timm's has the same names, and computes the same")
    _refuse_other_networks(path, content, info, options, settled)
    if options["num_classes"] == BACKGROUND:
        notes.append("1001 classes: the first is background, and ImageNet's begin at 1")
    names = {n: all_names[n] for n in _shared_names(network, tuple(options.items()))}
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
