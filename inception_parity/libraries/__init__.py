"""Other people's Inception networks: their names, and how their weights are laid out.

This is one of two folders that know other libraries, and it imports none of them; what runs a
library's own network is in `backends.libraries`.

A library is a TOML file: the fields of a `Library`, and for each of its networks those of an
`Implementation`, whose `names` turn our names into the library's; tables that all its networks have
in common follow theirs. Where a kind of file has names that tables can't say, because they are
counted, a module here works them out (`COUNTED`).
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, nearest
from ..formats import Content
from . import gluon, keras

SHARED = "shared"  # our own files
ONNX = "onnx"  # and their networks, as files that run
LIBRARIES = (  # the first wins among equal candidates
    *("torchvision", "timm", "keras", "gluon", "pytorchcv", "facenet_pytorch"),
    *("pytorch_fid", "torch_fidelity"),
)

# From a network, its shared names and the content of a file to names in it; nothing where the
# tables apply.
COUNTED: dict[str, Callable[[str, Sequence[str], Content | None], dict[str, str]]] = {
    "keras": keras.names,
    "gluon": gluon.names,
}


@dataclass(frozen=True)
class Implementation:
    """A library's version of one of our networks.

    Args:
        title: what the library calls it.
        fixed: options of ours that always have one value in it. A number of classes among them
            tells its files from those of other networks with the same names.
        names: tables from our names to the library's, applied one after the other. Each replaces
            whole words between dots, one or several; `within` restricts a table to the stages
            that this regular expression matches. `#` in our name is a number, and `{1}` in the
            library's is that number, counted from 1.
        free: options of ours that it has as well, besides `num_classes`.
        unstated: those of them that a file of weights doesn't record.
        sizes: (height, width) of images to compare on: the one that it is made
            for, where heads run as well, and others.
        notes: where it differs in training, or on other images.
        trained: sha256 of files that were trained with every unstated option on (its first
            eight digits).
        twin: another library whose files have the same names.
        dense: 1x1 kernels of ours that are a dense layer's weights in the library.
        pixels: whether it takes images as bytes p, which are p / 256 for ours.
        headless: whether it can be made without a classifier.
    """

    title: str
    fixed: Mapping[str, Any]
    names: tuple[Mapping[str, str], ...]
    free: tuple[str, ...] = ()
    unstated: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ((299, 299), (97, 128))
    notes: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    twin: str = ""
    dense: tuple[str, ...] = ()
    pixels: bool = False
    headless: bool = False

    @functools.cached_property
    def _substitutions(self) -> list[Callable[[str], str]]:
        return [_substitution(table) for table in self.names]

    def path(self, ours: str) -> str:
        """Return the library's name of a layer, a block or an array."""
        for substitute in self._substitutions:
            ours = substitute(ours)
        return ours


_NUMBER = re.compile(r"(?<=\.)\d+(?![^.])")  # as a whole word between dots


def _substitution(table: Mapping[str, str]) -> Callable[[str], str]:
    """Return what applies one of an implementation's tables to a name."""
    words = {ours: theirs for ours, theirs in table.items() if ours != "within"}
    patterns = (re.escape(ours).replace(r"\#", r"\d+") for ours in sorted(words, reverse=True))
    longest_first = "|".join(patterns)
    replaced = re.compile(rf"(?<![^.])({longest_first})(?![^.])")  # between dots, or at an end
    affected = re.compile(rf"({table.get('within', '.*')})(?![^.])")

    def theirs(match: re.Match[str]) -> str:
        if match[0] in words:
            return words[match[0]]
        number = int(_NUMBER.findall(match[0])[0])
        numbered = words[_NUMBER.sub("#", match[0])]
        return re.sub(r"\{(\d+)\}", lambda first: str(number + int(first[1])), numbered)

    def substitute(name: str) -> str:
        return replaced.sub(theirs, name) if affected.match(name) else name

    return substitute


@dataclass(frozen=True)
class Library:
    """A library that has Inception networks of its own.

    Args:
        name: its own here, for `--from` and `--to`.
        title: of the library, as it writes it.
        distribution: the package that has to be installed to run it.
        backend: the backend whose framework it is made of.
        formats: what its weights come in.
        suffixes: of files that are written for it.
        networks: our name of a network -> the library's version of it.
        channels_last: whether kernels are HWIO and (in, out).
    """

    name: str
    title: str
    distribution: str
    backend: str
    formats: tuple[str, ...]
    suffixes: tuple[str, ...]
    networks: Mapping[str, Implementation]
    channels_last: bool = False

    def title_of(self, network: str) -> str:
        """Return the library's title with that of its version of a network, if it has one."""
        version = self.networks.get(network)
        return self.title if version is None else f"{self.title} {version.title}"

    def to_shared(self, network: str, ours: str, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array to the shared layout, whose shared name is `ours`."""
        if ours in self.networks[network].dense and array.ndim == 2:
            return array[:, :, None, None]
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
        return array.transpose(axes) if self.channels_last and axes else array

    def from_shared(self, network: str, ours: str, array: NDArray[Any]) -> NDArray[Any]:
        """Bring an array from the shared layout to the library's."""
        if ours in self.networks[network].dense:
            return array[:, :, 0, 0]
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
        return array.transpose(axes) if self.channels_last and axes else array

    def path(self, network: str, ours: str) -> str:
        """Return the path of a layer or block in the library's network."""
        return self.networks[network].path(ours)

    def names(
        self, network: str, shared: Iterable[str], content: Content | None = None
    ) -> dict[str, str]:
        """Return {shared name: name in a file}, in one that is to be written by default."""
        shared = list(shared)
        counted = COUNTED[self.name](network, shared, content) if self.name in COUNTED else {}
        return counted or {name: self.path(network, name) for name in shared}


@functools.cache
def library(name: str) -> Library:
    """Return a library; InputError names the nearest if there is none of that name."""
    if name not in LIBRARIES:
        known = (SHARED, ONNX, *LIBRARIES)
        raise InputError(
            f"no library {name!r}{nearest(name, known)}; there are: {', '.join(known)}"
        )
    described = _read(name)
    common = described.pop("names", ())
    networks = {
        network: Implementation(**{**version, "names": (*version.get("names", ()), *common)})
        for network, version in described.pop("networks").items()
    }
    return Library(name=name, networks=networks, **described)


def all_libraries() -> list[Library]:
    """Return the libraries, in the order of asking."""
    return [library(name) for name in LIBRARIES]


def _read(name: str) -> dict[str, Any]:
    """Return what a TOML file of this folder says, with tuples for its lists."""

    def frozen(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(frozen, value))
        return {k: frozen(v) for k, v in value.items()} if isinstance(value, dict) else value

    said = tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
    return {key: frozen(value) for key, value in said.items()}


STAGES: Mapping[str, tuple[str, ...]] = _read("stages")


def fit(
    library: Library, network: str, options: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return options and arrays as the library's network has them, which computes the same.

    Batch norm gets weights of 1, or loses them; `obstacles` sees to it that nothing else differs.
    """
    fixed = library.networks[network].fixed
    if "bn_scale" not in fixed or fixed["bn_scale"] == options["bn_scale"]:
        return dict(options), dict(arrays)
    found = dict[str, NDArray[Any]]()
    for name, array in arrays.items():
        if name.endswith("norm.weight"):
            continue
        if fixed["bn_scale"] and name.endswith("norm.bias"):
            found[name.removesuffix("bias") + "weight"] = np.ones_like(array)
        found[name] = array
    return {**options, "bn_scale": fixed["bn_scale"]}, found


# What an option that a library fixes does to the result.
EFFECTS = {
    ("count_include_pad", True): "its average pools count their padding",
    ("count_include_pad", False): "its average pools leave out their padding",
    ("transform_input", False): "it takes images in -1 … 1, and has no transform_input",
    ("use_aux", False): "it has no auxiliary head; leave ours out with --set use_aux=false",
    ("in_channels", 3): "it takes three channels",
    ("third_kernel", 3): "its third branches are 3x3",
    ("pool4_kernel", 2): "its last pool is 2x2",
    ("bottleneck", True): "it has 512 features before the classifier",
    ("half_pixel_centres", True): "it resizes images with half-pixel centres",
    ("half_pixel_centres", False): "it resizes images without half-pixel centres, as TensorFlow 1",
    ("resize", True): "it resizes images to 299x299",
    ("padded_pool", False): "its pools of 3c and 4e are in ceil mode",
}
# By how much, relative to the largest of the logits, measured with random weights.
MEASURED = {("inception_v3", "count_include_pad"): " (some 7% off)"}


def obstacles(
    library: Library,
    network: str,
    options: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> list[str]:
    """Return why a library's network can't compute what ours with these weights computes.

    Batch norm without a weight is batch norm with weights of 1, so that neither
    stands in the way of the other where all weights are 1.
    """
    version = library.networks.get(network)
    if version is None:
        return [f"it has no {network}"]
    found = []
    if not options["num_classes"] and not version.headless:
        found.append("it always has a classifier; reset_classifier or --num-classes gives it one")
    for name, value in version.fixed.items():
        if name == "bn_scale":
            scales = [a for n, a in arrays.items() if n.endswith("norm.weight")]
            if not value and any(np.any(a != 1) for a in scales):
                found.append("its batch norm has no weight, and ours aren't all 1")
        elif name == "bn_eps" and options[name] != value:
            found.append(f"its batch norm adds {value:g} to the variance, ours {options[name]:g}")
        elif options[name] != value:
            effect = EFFECTS.get((name, value), f"it has {name}={value}")
            found.append(effect + MEASURED.get((network, name), ""))
    return found
