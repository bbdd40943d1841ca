"""An ONNX file that was exported elsewhere: the file is the network.

Nothing but its images, its first output and its initialisers is known, so that a
comparison has the logits and the weights, and no stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from ... import libraries
from ...errors import InputError
from ...networks.catalogue import Network
from ...traces import weights
from ...workers.request import Job
from .. import onnx


class Model(onnx.FileNetwork):
    """A file that is run whole; one whose batch is fixed, batch by batch."""

    def __call__(self, x: Any) -> Any:
        (x,) = self.root.before((x,))
        fixed = self.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        batch = fixed if fixed > 0 and len(x) % fixed == 0 else len(x)
        parts = [self.run_all({self.input: part}) for part in np.split(x, len(x) // batch)]
        outputs = tuple(np.concatenate([part[name] for part in parts]) for name in self.outputs)
        self.root.after((x,), outputs)
        return outputs


class Backend(onnx.Backend):
    """A file, beside the adapter of those that we exported.

    Args:
        device: `cpu`.
        file: the ONNX file.
        library: whose names its initialisers have.
    """

    def __init__(self, device: str, file: Path, library: str) -> None:
        super().__init__(device)
        self.file = file
        self.module = libraries.module(library)
        self.network, self.options = "", dict[str, Any]()

    def prepare(
        self, job: Job, weights: Mapping[str, NDArray[Any]], size: tuple[int, int],
        folder: Path, file: Path | None,
    ) -> None:  # fmt: skip
        """Do nothing: the file is there."""

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        assert self.file is not None
        self.network, self.options = network.name, dict(options)
        try:
            model = onnx.checked(self.file)
            held = {tensor.name for tensor in model.graph.initializer}
            inputs = [given for given in model.graph.input if given.name not in held]
            if len(inputs) != 1:
                raise InputError(f"{len(inputs)} inputs, but should be one: images")
            del model.graph.input[:]  # older files list their initialisers there, too
            model.graph.input.extend(inputs)
            return Model(model, {}, dtype, self.device)
        except InputError as error:
            raise InputError(f"{self.file}: {error}") from error

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        """Return the initialisers that have a name in the library, as the session has them."""
        shared = weights.shapes(self.network, self.options)
        return {
            ours: numpy_helper.to_array(net.initializers[theirs])
            for ours, theirs in self.module.names(self.network, shared, None).items()
            if theirs in net.initializers
        }
