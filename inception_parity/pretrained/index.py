"""The index of trained weights: what `index.toml` says, as types."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..errors import InputError, nearest
from .preprocessing import Preprocessing

UNITS = {"MB": 10**6, "MiB": 2**20}
# A path with one of these is that of a file, and no mistyped name.
SUFFIXES = (".pth", ".pt", ".safetensors", ".h5", ".keras", ".params", ".onnx")


@dataclass(frozen=True)
class Entry:
    """A file of trained weights, as its authors publish it.

    Args:
        name: its own here.
        url: where it is.
        published: where its authors state what stands here.
        licence: of the weights, as far as it is stated.
        library: one of `libraries.LIBRARIES`.
        network: our name of its network.
        preprocessing: what its network expects of images.
        digest: `algorithm:digits`, which may be the first ones only; empty if none is published.
        member: what is used of an archive; empty if the file is no archive.
        size: `103.9 MiB` or `95.5 MB`, rounded as published; empty if none is.
        options: of our network, which a file of weights doesn't record.
        head: whether the file has a classifier.
        classes: whose names the classes have; empty if they have none.
        accuracy: on ImageNet's validation images, in per cent: `top1`, `top5`.
        hosts: where a redirect may lead, besides the file's own host.
    """

    name: str
    url: str
    published: str
    licence: str
    library: str
    network: str
    preprocessing: Preprocessing
    digest: str = ""
    member: str = ""
    size: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    head: bool = True
    classes: str = ""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of the file in the cache and on a mirror; that of an archive's member."""
        return self.member or PurePosixPath(urlsplit(self.url).path).name

    @property
    def algorithm(self) -> str:
        """The algorithm of the digest: sha256, where none is published."""
        return self.digest.partition(":")[0] or "sha256"

    def has_size(self, count: int) -> bool:
        """Return whether a number of bytes agrees with the published size, as it is rounded."""
        match = re.fullmatch(r"(\d+)(?:\.(\d+))? (\w+)", self.size)
        if match is None:
            return True
        digits = len(match[2] or "")
        published = float(self.size.split()[0])
        return abs(count / UNITS[match[3]] - published) <= 0.5 * 10**-digits + 1e-9


@functools.cache
def entries() -> dict[str, Entry]:
    """Return all entries, by name."""
    said = tomllib.loads(Path(__file__).with_name("index.toml").read_text(encoding="utf-8"))
    steps = {
        name: Preprocessing(name=name, **_tuples(table))
        for name, table in said["preprocessing"].items()
    }
    found = {}
    for name, table in said["weights"].items():
        host = urlsplit(table["url"]).hostname or ""
        hosts = tuple(said["hosts"].get(host, ()))
        done = {**table, "preprocessing": steps[table["preprocessing"]], "hosts": hosts}
        found[name] = Entry(name=name, **done)
    return found


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}


def entry(name: str) -> Entry:
    """Return an entry; InputError names the nearest if there is none of that name."""
    if name not in entries():
        raise InputError(
            f"no weights of the name {name!r}{nearest(name, entries())}; "
            "`inception-parity pretrained` lists them"
        )
    return entries()[name]


def known(name: str | Path) -> Entry | None:
    """Return the entry that a word of the command line names; None if it is a file's path.

    A path that exists comes first.

    Raises:
        InputError: it looks like a name, but there are no such weights.
    """
    path, text = Path(name), Path(name).as_posix()
    if path.exists():
        return None
    first, slash, _ = text.partition("/")
    ours = {other.partition("/")[0] for other in entries()}
    if not slash or first not in ours or path.parent.is_dir():
        return None
    return None if path.suffix in SUFFIXES and text not in entries() else entry(text)
