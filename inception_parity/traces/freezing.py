"""Which arrays of a network aren't trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..errors import InputError, nearest
from ..networks import catalogue
from .weights import is_statistic, trained_names

ALL_BUT_HEAD = "all-but-head"


def frozen_names(network: str, options: Mapping[str, Any], layers: Sequence[str]) -> list[str]:
    """Return the arrays inside of some layers, all of which gradients would train.

    Args:
        network: a network of the catalogue.
        options: its options, resolved.
        layers: dotted paths; `all-but-head` for everything but the classifier and those of
            auxiliary heads.

    Raises:
        InputError: there is no such layer, or nothing is left to train.
    """
    names = trained_names(network, options)
    chosen = list[str]()
    for layer in layers:
        if layer == ALL_BUT_HEAD:
            heads = tuple(f"{path}." for path in _classifiers(network, options))
            inside = [name for name in names if not name.startswith(heads)]
        else:
            inside = [name for name in names if name.startswith(f"{layer}.")]
        if not inside:
            raise InputError(_unknown(network, layer, names))
        chosen += [name for name in inside if name not in chosen]
    if len(chosen) == len(names):
        raise InputError(f"{', '.join(layers)} frozen: nothing of {network} is left to train")
    return chosen


def _unknown(network: str, layer: str, names: Sequence[str]) -> str:
    """Return what is wrong with a layer that isn't there, and what to give instead."""
    paths = [name.split(".")[:-1] for name in names]
    known = {".".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}
    return (
        f"{network} has no layer {layer!r} to freeze{nearest(layer, [ALL_BUT_HEAD, *known])}; give "
        f"{ALL_BUT_HEAD}, or layers that `inception-parity summary {network}` lists, such as "
        + ".".join(paths[0][:2])
    )


def _classifiers(network: str, options: Mapping[str, Any]) -> list[str]:
    net = catalogue.network(network).build("inception_np", options)
    return [net.classifier, *net.head_classifiers]


def frozen_norms(names: Collection[str], frozen: Collection[str]) -> set[str]:
    """Return the paths of batch norms none of whose arrays is trained: their statistics rest.

    Args:
        names: of all arrays.
        frozen: those that aren't trained.
    """
    paths = {name.rpartition(".")[0] for name in names if is_statistic(name)}
    own = {
        path: [f"{path}.{last}" for last in ("weight", "bias") if f"{path}.{last}" in names]
        for path in paths
    }
    return {path for path, arrays in own.items() if all(name in frozen for name in arrays)}
