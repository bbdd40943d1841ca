"""Groups of options that several commands have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files, pretrained
from ..checking.task import Settings, Task, make_task
from ..conversion.named import shared_weights
from ..data import images as image_files
from ..data.images import parse_size
from ..errors import InputError
from ..networks import catalogue
from ..onnx import reading
from ..traces import seeding
from . import err
from .arguments import parse_backends, parse_pythons, parse_settings, require_timeout


@dataclass(frozen=True)
class Case:
    """One of the networks that a command checks."""

    network: str
    options: Mapping[str, Any]  # those that were given
    title: str  # begins its line of progress; empty if it is the only network
    folder: Path | None  # for its traces


@dataclass(frozen=True)
class Selection:
    """Which networks are checked, in which backends and dtypes."""

    networks: list[str] | None = None
    backends: str | None = None
    dtypes: str = "float64,float32"
    everything: bool = False

    def chosen_backends(self) -> tuple[str, ...]:
        """Return the backends that are named, or those that this platform can have."""
        if self.backends is not None:
            return parse_backends(self.backends, "it always runs, and isn't checked against itself")
        if not catalogue.mxnet_has_wheel():
            err.print("MXNet has no wheel for this platform and Python; checking the others.")
        return catalogue.default_backends()

    def cases(self, given: InputOptions, keep: Path | None, onnx: Path | None = None) -> list[Case]:
        """Return the networks to check; what can't be used is refused before any work."""
        named = self.networks or []
        if self.everything and (named or given.settings or given.weights or onnx):
            raise InputError("--all can't be combined with a network, --set, --weights or --onnx")
        for flag, file in (("--onnx", onnx), ("--weights", given.weights)):
            if file is not None and len(named) > 1:
                raise InputError(f"{flag} belongs to one network, but {len(named)} are given")
        if onnx is not None and not named:
            named = [reading.describe(onnx).network]
        if given.weights is not None and not named:
            entry = pretrained.known(given.weights)
            named = [] if entry is None else [entry.network]
        found: list[tuple[str, Mapping[str, Any]]] = [
            (name, given.options()) for name in dict.fromkeys(named or ["googlenet"])
        ]
        if self.everything:
            found = [(n.name, v) for n in catalogue.NETWORKS.values() for v in n.variants]
        for name, options in found:
            catalogue.network(name).resolve(options)
        if len(found) == 1:
            return [Case(*found[0], "", keep)]
        return [
            Case(
                name, options, f"[{number}/{len(found)}] {name}  ",
                None if keep is None else keep / f"{number:02d}-{name}",
            )
            for number, (name, options) in enumerate(found, 1)
        ]  # fmt: skip


@dataclass(frozen=True)
class InputOptions:
    """What a network is given: its options, weights and images."""

    size: str | None = None
    batch: int | None = None
    settings: list[str] | None = None
    images: Path | None = None
    weights: Path | None = None
    seed: int = 0

    def options(self) -> dict[str, str]:
        """Return what is given with `--set`."""
        return parse_settings(self.settings)

    def task(self, network: str, options: Mapping[str, Any], onnx: Path | None = None) -> Task:
        """Load what every backend will be given, and refuse what can't be used.

        The weights are those of the file of weights, else of the ONNX file, else seeded.
        """
        known = catalogue.network(network)
        resolved = known.resolve(options)
        size = known.size if self.size is None else parse_size(self.size)
        shared, source = None, onnx
        if onnx is not None:
            shared, description = reading.read(onnx)
            if self.size is not None and size != description.size:
                stated = "x".join(map(str, description.size))
                raise InputError(f"{onnx}: takes images of {stated}; leave out --size")
            size = description.size
        if self.weights is not None:
            shared, source = shared_weights(self.weights), self.weights
        if shared is None:
            shared = seeding.seeded(network, resolved, self.seed)
        else:
            shared.require(network, {name: resolved[name] for name in options}, str(source))
        found = None if self.images is None else image_files.find(self.images)
        return make_task(shared, found, size, self.batch)

    def words(self, options: Mapping[str, Any]) -> list[str]:
        """Return the words of a command that gives a network the same options and inputs."""
        said = [word for k, v in options.items() for word in ("--set", f"{k}={str(v).lower()}")]
        said += ["--weights", str(self.weights)] if self.weights else ["--seed", str(self.seed)]
        return said + (["--images", str(self.images)] if self.images else [])


@dataclass(frozen=True)
class WorkerOptions:
    """Where backends run, and for how long at most."""

    device: str = "cpu"
    pythons: list[str] | None = None
    timeout: float = 600

    def settings(
        self, backends: tuple[str, ...], dtypes: tuple[str, ...], onnx: Path | None = None
    ) -> Settings:
        """Return how backends are run, and refuse what can't be used."""
        if onnx is not None and "onnx" not in backends:
            raise InputError("--onnx needs the backend onnx, which isn't among those asked for")
        if self.device not in ("cpu", "gpu"):
            raise InputError(f"--device {self.device}, but should be cpu or gpu")
        require_timeout(self.timeout)
        pythons = parse_pythons(self.pythons, backends)
        return Settings(backends, dtypes, self.device, pythons, self.timeout, onnx)


@dataclass(frozen=True)
class Results:
    """What a command leaves in addition to its output: a file, and a folder."""

    json: Path | None = None
    keep: Path | None = None

    def require_writable(self) -> None:
        """Raise InputError unless every file can be written, and the folder made."""
        for name, place in vars(self).items():
            if place is not None:
                (files.refuse_full if name == "keep" else files.require_writable)(place)


@dataclass(frozen=True)
class Reports(Results):
    """A page as well."""

    page: Path | None = None
