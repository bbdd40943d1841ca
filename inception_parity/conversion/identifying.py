"""What a file of weights is: whose, of which network, with which options.

The content decides, never the file's name: the names and shapes of arrays, a model's
description where there is one, and what our own files state. What a file doesn't record is
assumed, which is reported, and can be settled by `--from`, `--network` and `--set`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .. import formats, libraries, pretrained
from ..errors import InputError, reading
from ..formats import Content
from ..libraries import ONNX, SHARED, Library
from ..networks import catalogue
from ..pretrained.fetching import on_stderr
from ..traces import weights
from .found import Claim, Found

BACKGROUND = 1001  # ImageNet's classes, and one before them


def identify(
    path: Path,
    claim: Claim = Claim(),  # noqa: B008  it is immutable
    say: Callable[[str], None] = on_stderr,
) -> Found:
    """Find out what a file is.

    Args:
        path: a file of any format in `formats`, or a name of the index in `pretrained`.
        claim: what is said about it.
        say: told in lines how far a download is.

    Raises:
        InputError: the file can't be had or read, is nothing that is known here, or isn't
            what it was said to be.
    """
    if claim.library not in (None, SHARED, ONNX):
        libraries.library(str(claim.library))
    if claim.network is not None:
        catalogue.network(claim.network)
    named = pretrained.known(path)
    if named is not None:
        path, claim = pretrained.local_file(named.name, say), _completed(claim, named)
    content = formats.read(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Identification(path, content, sha256, claim).found()


def _completed(claim: Claim, named: pretrained.Entry) -> Claim:
    """Add what the index says of a file to what the user says, who has the last word."""
    return Claim(
        claim.library or named.library,
        claim.network or named.network,
        {**named.options, **claim.settings},
    )


@dataclass(frozen=True)
class Identification:
    """A file that has been read, and what is said about it."""

    path: Path
    content: Content
    sha256: str
    claim: Claim

    def found(self) -> Found:
        """Return what the file is; InputError if that isn't known, or not what it is said to be."""
        library = self.claim.library
        if library == ONNX and self.content.format != ONNX:
            self._refuse(f"of format {self.content.format}, and not an ONNX file")
        if {"network", "options"} <= set(
            self.content.metadata
        ):  # our own files state what they are
            if library not in (None, SHARED, ONNX):
                self._refuse(f"a file of shared weights, and not of {library}")
            return self._ours()
        if library == SHARED:
            self._refuse("not a file of shared weights: its metadata don't say so")
        return self._theirs(*self._best())

    def _refuse(self, why: str) -> NoReturn:
        raise InputError(f"{self.path}: {why}")

    @property
    def _library(self) -> str | None:
        """Whose file it is said to be; nothing follows from `onnx`."""
        return None if self.claim.library == ONNX else self.claim.library

    def _ours(self) -> Found:
        """Take a file at its word: ours state their network and options."""
        with reading(self.path, "broken metadata"):
            stated = self.content.metadata["options"]
            stated = dict((json.loads(stated) if isinstance(stated, str) else stated).items())
            name = str(self.content.metadata["network"])
            options = dict(catalogue.network(name).resolve(stated))
        if self.claim.network not in (None, name):
            self._refuse(f"weights of {name}, but should be of {self.claim.network}")
        asked = catalogue.network(name).resolve({**options, **self.claim.settings})
        left_out: tuple[str, ...] = ()
        names = _shared_names(name, options)
        if options.get("use_aux") and not asked["use_aux"]:
            options |= {"use_aux": False, "return_aux": False}
            kept = _shared_names(name, options)
            left_out, names = tuple(n for n in names if n not in kept), kept
        self._settle(options, asked)
        return Found(
            self.path, self.content, SHARED, name, options, {n: n for n in names},
            left_out=left_out, sha256=self.sha256,
        )  # fmt: skip

    def _settle(self, options: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """Set whether heads run in inference, which no weights depend on, as asked for.

        Raises:
            InputError: the file contradicts one of the settings.
        """
        if options.get("use_aux"):
            options["return_aux"] = asked["return_aux"]
        for option in self.claim.settings:
            if asked[option] != options[option]:
                self._refuse(
                    f"{option}={str(options[option]).lower()} as the file has it, but "
                    f"{str(asked[option]).lower()} was asked for"
                )

    def _best(self) -> tuple[Library, str]:
        """Return the library and the network of whose arrays the file has most."""
        candidates = list(self._candidates())
        if not candidates:
            fits = [i.name for i in libraries.all_libraries() if self.content.format in i.formats]
            said = {"--from": self._library, "--network": self.claim.network}
            asked = "".join(f"{flag} {value} " for flag, value in said.items() if value)
            self._refuse(
                f"of format {self.content.format}, and not one of ours; such files can come "
                f"from {', '.join(fits)}, which isn't what {asked}says"
            )
        _, share, info, name = max(candidates, key=lambda candidate: candidate[0])
        if share < 0.5:
            arrays = self.content.arrays
            self._refuse(
                f"weights of no network that is known here: {len(arrays)} arrays "
                f"({', '.join(list(arrays)[:3]) or 'none'} …); nearest is {info.title_of(name)}, "
                f"of whose arrays it has {share:.0%}"
            )
        return info, name

    def _candidates(self) -> Iterator[tuple[tuple[float, bool], float, Library, str]]:
        """Yield (how well it fits, share of its arrays that are there, library, network).

        What fits best has most of the file's arrays, too: a larger network may have all names of
        a smaller one. Among equals the number of classes decides.
        """
        arrays = [name for name in self.content.arrays if not name.endswith("num_batches_tracked")]
        for info in libraries.all_libraries():
            if self._library not in (None, info.name) or self.content.format not in info.formats:
                continue
            for name in info.networks:
                if self.claim.network not in (None, name):
                    continue
                shared = _shared_names(name, _without_heads(_largest(info, name)))
                theirs = info.names(name, shared, self.content)
                there = sum(theirs[n] in self.content.arrays for n in shared)
                classes = info.networks[name].fixed.get("num_classes")
                if classes and not self._said and self._classes(theirs[shared[-1]]) != classes:
                    continue
                both = there / (len(shared) + len(arrays))
                yield (both, classes is not None), there / len(shared), info, name

    @property
    def _said(self) -> bool:
        """Whether it is said whose the file is, or of which network."""
        return bool(self._library or self.claim.network)

    def _classes(self, bias: str) -> int:
        """Return the number of classes, from the name of the classifier's bias in the file."""
        array = self.content.arrays.get(bias)
        return 0 if array is None else array.size

    def _theirs(self, info: Library, network: str) -> Found:
        """Work out the options of a library's file, from shapes and from what is there."""
        version, arrays, settings = info.networks[network], self.content.arrays, self.claim.settings
        assumed, notes, left_out = list[str](), list[str](), tuple[str, ...]()
        options = _largest(info, network)
        all_names = info.names(network, _shared_names(network, options), self.content)
        self._read_counts(info, network, options, all_names)
        if not options["num_classes"]:
            notes.append("it has no classifier (num_classes=0): the network returns its features")
        kept = _shared_names(network, _without_heads(_largest(info, network)))
        heads = [theirs for ours, theirs in all_names.items() if ours not in kept]
        if "use_aux" in version.free:
            options["use_aux"] = any(theirs in arrays for theirs in heads)
        if options.get("use_aux") and not options["num_classes"]:
            options["use_aux"], left_out = False, tuple(heads)
        asked = catalogue.network(network).resolve({**options, **settings})
        if options.get("use_aux") and asked["use_aux"] is False:
            options["use_aux"], left_out = False, tuple(heads)
            notes.append("its auxiliary heads are left out, as asked for")
        for option in version.unstated:
            trained = self.sha256.startswith(version.trained)
            options[option] = asked[option] if option in settings else trained
            if option not in settings and not trained:
                assumed.append(
                    f"{option}=false; a state dict doesn't tell. If the network was made with "
                    f"{option}=True, as torchvision's trained ones are, give --set {option}=true"
                )
        self._settle(options, asked)
        if version.twin and self._library is None:
            assumed.append(_of_twins(info, network))
        if "num_classes" in version.fixed and not self._said:
            assumed.append(
                f"{network}, since it has {options['num_classes']} classes; inception_v3 has the "
                "same names. If it is that, say --network inception_v3"
            )
        self._refuse_other_networks(info, network)
        if options["num_classes"] == BACKGROUND:
            notes.append("1001 classes: the first is background, and ImageNet's begin at 1")
        names = {n: all_names[n] for n in _shared_names(network, options)}
        dtypes = {self.content.dtypes[n] for n in names.values() if n in arrays} - {"float32"}
        for dtype in sorted(dtypes):
            exact = dtype in ("float16", "bfloat16")
            notes.append(f"{dtype}, {'widened exactly' if exact else 'rounded'} to float32")
        return Found(
            self.path, self.content, info.name, network, options, names,
            left_out, tuple(assumed), tuple(notes), self.sha256,
        )  # fmt: skip

    def _read_counts(
        self, info: Library, network: str, options: dict[str, Any], names: Mapping[str, str]
    ) -> None:
        """Read the numbers of classes and of channels off the shapes, if the rest of them fits."""
        expected, arrays = weights.shapes(network, options), self.content.arrays
        *_, classifier = (name for name in expected if name.endswith(".weight"))
        if names[classifier] not in arrays:
            bias = names[classifier.removesuffix("weight") + "bias"]
            if not info.networks[network].headless or bias in arrays:
                self._refuse(
                    f"taken for {info.title_of(network)}, but it has no classifier "
                    f"({names[classifier]}), which {info.title}'s always has"
                )
            options["num_classes"] = 0
        for option, name, axis in (
            ("num_classes", classifier, 0),
            ("in_channels", next(iter(expected)), 1),
        ):
            if option in info.networks[network].fixed or names[name] not in arrays:
                continue
            shape = list(info.to_shared(network, name, arrays[names[name]]).shape)
            wanted = list(expected[name])
            if len(shape) == len(wanted):
                number, shape[axis] = shape[axis], wanted[axis]
                if shape == wanted and 1 <= number <= catalogue.MOST:
                    options[option] = number

    def _refuse_other_networks(self, info: Library, network: str) -> None:
        """Refuse networks that have the names of a known one, but compute something else."""
        config = self.content.metadata.get("config") or {}
        epsilons = {float(e) for e in _values(config, "epsilon") if isinstance(e, int | float)}
        if epsilons - {1e-3}:
            self._refuse(
                f"batch norm with epsilon {', '.join(f'{e:g}' for e in sorted(epsilons))}, but "
                f"keras.applications.{info.networks[network].title} has 0.001; it is another "
                "network"
            )


def _shared_names(network: str, options: Mapping[str, Any]) -> list[str]:
    return _names_with(network, tuple(options.items()))


@functools.lru_cache(maxsize=64)
def _names_with(network: str, options: tuple[tuple[str, Any], ...]) -> list[str]:
    return list(weights.shapes(network, dict(options)))


def _largest(info: Library, network: str) -> dict[str, Any]:
    """Return the options with which a library's network has most arrays."""
    version = info.networks[network]
    aux = {"use_aux": True} if "use_aux" in version.free else {}
    return dict(catalogue.network(network).resolve({**version.fixed, **aux}))


def _without_heads(options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, **({"use_aux": False, "return_aux": False} if "use_aux" in options else {})}


def _of_twins(info: Library, network: str) -> str:
    """Say which of two libraries is assumed whose files have the same names."""
    version = info.networks[network]
    twin = libraries.library(version.twin)
    theirs = twin.networks[network].fixed
    differs = [
        f"{name}={str(theirs[name]).lower()}"
        for name, value in version.fixed.items()
        if theirs.get(name, value) != value
    ]
    same = f"computes the same, but for {', '.join(differs)}" if differs else "computes the same"
    said = f" (--from {twin.name})" if differs else ""
    return f"from {info.title}; {twin.title}'s has the same names, and {same}{said}"


def _values(config: Any, key: str) -> Iterable[Any]:
    """Yield what is called `key` in the settings of a model's layers."""
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        settings = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(settings, dict) and key in settings:
            yield settings[key]
