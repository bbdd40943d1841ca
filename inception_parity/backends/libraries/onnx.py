"""An ONNX file that was exported elsewhere: the file is the network.

Only its images, its first output and its initialisers are known, so a comparison has the
logits and the weights, but no stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...workers.request import Job
from .. import onnx
from .from_file import FromFile


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


class Backend(FromFile, onnx.Backend):  # type: ignore[misc]  # this one always has a file
    """A file with a library's names, run by the adapter of files that we exported."""

    modules = onnx.Backend.modules

    def prepare(
        self, job: Job, weights: Mapping[str, NDArray[Any]], size: tuple[int, int],
        folder: Path, file: Path | None,
    ) -> None:  # fmt: skip
        """Do nothing: the file is there."""

    def load(self, dtype: str) -> Any:
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

    def arrays(self, net: Any) -> dict[str, NDArray[Any]]:
        return onnx.Backend.get_weights(self, net)
