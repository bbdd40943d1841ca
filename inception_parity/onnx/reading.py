"""ONNX files that were written here: what they say of themselves, and their weights.

A file that has changed since it was written isn't read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import formats
from ..data.images import parse_size
from ..errors import InputError, reading
from ..files import digest
from ..formats import Content
from ..networks import catalogue
from ..traces.weights import SharedWeights, require_match, shapes
from .sealing import FORMAT, sealed, unsealed


@dataclass(frozen=True)
class Description:
    """What a file that was written here says of itself.

    Args:
        network: its network.
        options: all of its options.
        provenance: where the weights come from.
        size: (height, width) of the images.
        backend: whose network it was written from: the oracle's; in older files, a framework's.
        endpoints: dotted path -> tensor, in execution order.
    """

    network: str
    options: dict[str, Any]
    provenance: str
    size: tuple[int, int]
    backend: str
    endpoints: dict[str, str]

    def require(self, network: str, options: Mapping[str, Any], where: str) -> None:
        """Raise InputError unless this is `network` with `options`."""
        if self.network != network or self.options != dict(options):
            raise InputError(
                f"{where}: {self.network} with {self.options}, but should be "
                f"{network} with {dict(options)}"
            )


def describe(path: Path) -> Description:
    """Return what a file says of itself; InputError as from `read`."""
    return _description(path, _sealed_content(path))


def read(path: Path) -> tuple[SharedWeights, Description]:
    """Return the shared weights of a file that was written here, bit for bit, and what it is.

    Raises:
        InputError: it can't be read, isn't such a file, has changed since it was
            written, or doesn't hold exactly the weights of its network.
    """
    content = _sealed_content(path)
    found = _description(path, content)
    require_match(content.arrays, shapes(found.network, found.options), str(path))
    if digest(content.arrays) != content.metadata["sha256"]:
        raise InputError(f"{path}: its weights aren't those that were exported (sha256)")
    return SharedWeights(found.network, found.options, found.provenance, content.arrays), found


def _sealed_content(path: Path) -> Content:
    """Read a file that is as it was written."""
    content = formats.read(path, "onnx")
    found = path.read_bytes()
    stated = content.metadata.get("format", "no format")
    if stated != FORMAT:
        raise InputError(
            f"{path}: {stated}, but should be {FORMAT!r} in the metadata; such a file comes "
            "from `inception-parity export`"
        )
    if found != sealed(unsealed(found)):
        raise InputError(f"{path}: changed since it was exported (sha256); export it again")
    return content


def _description(path: Path, content: Content) -> Description:
    metadata = content.metadata
    with reading(path, "broken metadata"):
        name = metadata["network"]
        settings = dict(json.loads(metadata["options"]).items())  # an object, nothing else
        endpoints = dict(json.loads(metadata["endpoints"]).items())
        if not all(isinstance(tensor, str) for tensor in endpoints.values()):
            raise ValueError("an endpoint is no name of a tensor")
        return Description(
            name,
            dict(catalogue.network(name).resolve(settings)),
            metadata["provenance"],
            parse_size(metadata["size"]),
            metadata["backend"],
            endpoints,
        )
