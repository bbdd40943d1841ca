"""Other people's Inception networks: their names, and how their weights are laid out.

This is one of two folders that know other libraries. Nothing here runs anything; what runs a
library's own network, in its framework, is in `backends.libraries`, a module for each as here.

A library's module has

    LIBRARY           a Library: its networks, and what they fix
    path(network, ours)     the path in the library's network of the layer or block `ours`
    names(network, shared, content)
                      {shared name: name in a file of the library's}, for a file with
                      that content, or for one that is to be written if it is None

and imports nothing of the library.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, nearest
from ..formats import Content

SHARED = "shared"  # our own files
ONNX = "onnx"  # and their networks, as files that run
LIBRARIES = ("torchvision", "timm", "keras", "gluon")  # of equal candidates the first is taken


@dataclass(frozen=True)
class Implementation:
    """A library's version of one of our networks.

    Args:
        title: what the library calls it.
        fixed: options of ours that it always has so.
        free: options of ours that it has as well, besides `num_classes`.
        unstated: those of them that a file of weights doesn't tell.
        sizes: (height, width) of images to compare on: the one that it is made
            for, where heads run as well, and others.
        notes: where it differs in training, or on other images.
    """

    title: str
    fixed: Mapping[str, Any]
    free: tuple[str, ...] = ()
    unstated: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ((299, 299), (97, 128))
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Library:
    """A library that has Inception networks of its own.

    Args:
        name: of its module here, and for `--from` and `--to`.
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

    def to_shared(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring a weight to the shared layout."""
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
        return array.transpose(axes) if self.channels_last and axes else array

    def from_shared(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring a weight from the shared layout to the library's."""
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
        return array.transpose(axes) if self.channels_last and axes else array


class Module(Protocol):
    """What every module of a library has."""

    LIBRARY: Library

    def path(self, network: str, ours: str) -> str:
        """Return the path of a layer or block in the library's network."""

    def names(self, network: str, shared: Iterable[str], content: Content | None) -> dict[str, str]:
        """Return what each shared array is called in a file."""


def module(name: str) -> Module:
    """Return the module of a library; InputError names the nearest if there is none."""
    if name not in LIBRARIES:
        known = (SHARED, ONNX, *LIBRARIES)
        raise InputError(
            f"no library {name!r}{nearest(name, known)}; there are: {', '.join(known)}"
        )
    return cast(Module, importlib.import_module(f".{name}", __name__))


def all_libraries() -> list[Library]:
    """Return the libraries, in the order of asking."""
    return [module(name).LIBRARY for name in LIBRARIES]


# Layers and blocks of ours, in order, that every library's network has as such.
STAGES = {
    "inception_v3": (
        *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1"),
        *("Conv2d_4a_3x3", "maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a"),
        *("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
        "fc",
    ),
    "ceil_googlenet": (
        *(f"sec0.{i}" for i in range(5)),
        *(f"sec1.{i}" for i in range(4)),
        *(f"sec2.{i}" for i in range(3)),
        *(f"sec3.{i}" for i in range(4)),
        "h2",
    ),
}


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


# What an option that a library fixes does to the result, measured on the logits of
# InceptionV3: relative to their largest, with random weights.
EFFECTS = {
    ("count_include_pad", True): "its average pools count their padding (some 7% off)",
    ("count_include_pad", False): "its average pools leave out their padding (some 7% off)",
    ("transform_input", False): "it takes images in -1 … 1, and has no transform_input",
    ("use_aux", False): "it has no auxiliary head; leave ours out with --set use_aux=false",
    ("in_channels", 3): "it takes three channels",
    ("third_kernel", 3): "its third branches are 3x3",
    ("pool4_kernel", 2): "its last pool is 2x2",
}


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
    for name, value in version.fixed.items():
        if name == "bn_scale":
            scales = [a for n, a in arrays.items() if n.endswith("norm.weight")]
            if not value and any(np.any(a != 1) for a in scales):
                found.append("its batch norm has no weight, and ours aren't all 1")
        elif name == "bn_eps" and options[name] != value:
            found.append(f"its batch norm adds {value:g} to the variance, ours {options[name]:g}")
        elif options[name] != value:
            found.append(EFFECTS.get((name, value), f"it has {name}={value}"))
    return found
