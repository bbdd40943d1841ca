"""The trained weights of the FID's network: pytorch-fid's and torch-fidelity's files, and ours.

Both have torchvision's names, which are ours but for `bn` in place of `norm`, and the same numbers.
"""

from __future__ import annotations

from pathlib import Path

from .. import formats
from ..networks import catalogue
from ..traces import weights
from ..traces.weights import Arrays

NETWORK = "fid_inception"


def read(path: Path) -> Arrays:
    """Return the arrays of a file, by their shared names.

    Raises:
        InputError: it can't be read, or isn't of the FID's network.
    """
    content = formats.read(path)
    if content.metadata.get("format") == weights.FORMAT:
        shared = weights.read(path)
        shared.require(NETWORK, {"in_channels": 3}, str(path))
        return shared.arrays
    options = catalogue.network(NETWORK).resolve({})
    names = {name.replace(".norm.", ".bn."): name for name in weights.shapes(NETWORK, options)}
    expected = weights.shapes(NETWORK, options)
    found = {n: a for n, a in content.arrays.items() if not n.endswith("num_batches_tracked")}
    weights.require_match(found, {theirs: expected[n] for theirs, n in names.items()}, str(path))
    return {name: found[theirs] for theirs, name in names.items()}
