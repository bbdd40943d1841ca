"""ONNX files: a network of any of the frameworks, written whole, checked, and read back.

A file holds every weight of the network as an initialiser under its shared name, and
batch norms as they are. Its metadata say which network it is, with which options,
where the weights come from, and which tensor each endpoint is. The last entry is a seal,
the sha256 of all that is before it: a file that has changed since isn't run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images import parse_size
from ..errors import InputError
from ..files import digest, write_whole
from ..formats import Content, onnx
from ..formats.onnx import METADATA
from ..formats.wire import encoded
from ..networks import catalogue
from ..traces.weights import SharedWeights, require_match, shapes
from ..versions import __version__

if TYPE_CHECKING:
    from ..backends import Adapter
    from .exporters.graph import Graph

FORMAT = "inception-parity onnx 1"
OPSET = 18  # the newest operators that are used are older; older runtimes read it
IR_VERSION = 8  # the one that goes with this opset
LARGEST_MODEL = (1 << 31) - 1  # bytes in a protobuf message
LARGEST_GRAPH = 1 << 24  # bytes of all but the weights; 0.2 MB in the networks here
SEAL = "seal"
PRODUCER = "inception-parity"
BATCH = "batch"  # the name of the free dimension


@dataclass(frozen=True)
class Origin:
    """What a file says of where it comes from."""

    network: str
    options: dict[str, Any]
    provenance: str  # of the weights


def write(backend: Adapter, net: Any, origin: Origin, size: tuple[int, int], path: Path) -> None:
    """Write a live network to an ONNX file, which appears whole or not at all.

    The batch is free, the size of the images isn't.

    Args:
        backend: whose network it is.
        net: the network, in inference mode and float32.
        origin: what it is.
        size: (height, width) of the images.
        path: the file.

    Raises:
        InputError: the network can't be written as ONNX, or the file not there.
    """
    from .exporters import graph_of

    outputs = catalogue.network(origin.network).outputs
    graph = graph_of(backend, net, outputs, size)
    made_by = {"backend": backend.name, "versions": json.dumps(backend.versions())}
    write_whole(path, sealed(model_of(graph, origin, made_by)))


def note(path: Path, key: str, text: str) -> None:
    """Add an entry to the metadata of a file, and seal it anew."""
    content = path.read_bytes()
    write_whole(path, sealed(content[: -len(_seal(content))] + _entry(key, text)))


def sealed(content: bytes) -> bytes:
    """Return a model with a seal at its end."""
    return content + _seal(content)


def _seal(content: bytes) -> bytes:
    return _entry(SEAL, hashlib.sha256(content).hexdigest())


def _entry(key: str, text: str) -> bytes:
    """Return an entry of a model's metadata, which may stand anywhere in its file."""
    return encoded(METADATA, encoded(1, key.encode()) + encoded(2, text.encode()))


def model_of(graph: Graph, origin: Origin, more: Mapping[str, str]) -> bytes:
    """Return the ONNX model of a graph, which has passed ONNX's own checker in full.

    Raises:
        InputError: it would exceed the 2 GiB that one file may have.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    total = sum(array.nbytes for array in graph.weights.values())
    if total > LARGEST_MODEL - LARGEST_GRAPH:
        raise InputError(
            f"{total:,} bytes of weights, but an ONNX file in one piece has under "
            f"{LARGEST_MODEL - LARGEST_GRAPH:,}; give a smaller num_classes"
        )
    graph.finish()
    constants = [
        helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(array))
        for name, array in graph.constants.items()
    ]
    nodes = [helper.make_node(n.op, n.inputs, [n.output], n.name, **n.attributes)
             for n in graph.nodes]  # fmt: skip
    images = (BATCH, graph.channels, *graph.size)
    logits = (BATCH, int(origin.options["num_classes"]))
    model = helper.make_model(
        helper.make_graph(
            [*constants, *nodes],
            origin.network,
            [helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, images)],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, logits) for o in graph.outputs],
            [numpy_helper.from_array(array, name) for name, array in graph.weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    metadata = {
        "format": FORMAT,
        "network": origin.network,
        "options": json.dumps(origin.options, sort_keys=True),
        "provenance": origin.provenance,
        "size": f"{graph.size[0]}x{graph.size[1]}",
        "sha256": digest(graph.weights),
        "endpoints": json.dumps(graph.endpoints),
        **more,
    }
    helper.set_model_props(model, metadata)
    checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


@dataclass(frozen=True)
class Description:
    """What a file that was exported here says of itself."""

    origin: Origin
    size: tuple[int, int]  # (height, width) of the images
    backend: str  # whose network was exported
    endpoints: dict[str, str]  # dotted path -> tensor, in execution order

    def require(self, network: str, options: Mapping[str, Any], where: str) -> None:
        """Raise InputError unless this is `network` with `options`."""
        if self.origin.network != network or self.origin.options != dict(options):
            raise InputError(
                f"{where}: {self.origin.network} with {self.origin.options}, but should be "
                f"{network} with {dict(options)}"
            )


def describe(path: Path) -> Description:
    """Return what a file says of itself; InputError as from `read`."""
    return _description(path, _sealed_content(path))


def read(path: Path) -> tuple[SharedWeights, Description]:
    """Return the shared weights of a file that was exported here, bit for bit, and what it is.

    Raises:
        InputError: it can't be read, isn't such a file, has changed since it was
            written, or doesn't hold exactly the weights of its network.
    """
    content = _sealed_content(path)
    description = _description(path, content)
    origin = description.origin
    require_match(content.arrays, shapes(origin.network, origin.options), str(path))
    if digest(content.arrays) != content.metadata["sha256"]:
        raise InputError(f"{path}: its weights aren't those that were exported (sha256)")
    weights = SharedWeights(origin.network, origin.options, origin.provenance, content.arrays)
    return weights, description


def _sealed_content(path: Path) -> Content:
    """Read a file that is as it was written."""
    if not path.is_file():
        raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        found = path.read_bytes()
        content = onnx.read(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    stated = content.metadata.get("format", "no format")
    if stated != FORMAT:
        raise InputError(
            f"{path}: {stated}, but should be {FORMAT!r} in the metadata; such a file comes "
            "from `inception-parity export`"
        )
    body = found[: -len(_seal(b""))]
    if found != sealed(body):
        raise InputError(f"{path}: changed since it was exported (sha256); export it again")
    return content


def _description(path: Path, content: Content) -> Description:
    metadata = content.metadata
    try:
        name = metadata["network"]
        settings = dict(json.loads(metadata["options"]).items())  # an object, nothing else
        options = catalogue.network(name).resolve(settings)
        endpoints = dict(json.loads(metadata["endpoints"]).items())
        if not all(isinstance(tensor, str) for tensor in endpoints.values()):
            raise ValueError("an endpoint is no name of a tensor")
        origin = Origin(name, options, metadata["provenance"])
        return Description(origin, parse_size(metadata["size"]), metadata["backend"], endpoints)
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: broken metadata ({error!r})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
