"""The Gluon model zoo's `inception_v3`, by `load_parameters`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from inception_mx._mxnet import mxnet

from ...formats import head
from ...formats import mxnet as mxnet_files
from ...libraries import STAGES
from ...libraries import gluon as names
from ...networks.catalogue import Network
from ...traces import weights
from .. import mx
from .from_file import FromFile

mxnet.npx.reset_np()  # the zoo is of the older interface; this process runs nothing else


class Backend(FromFile, mx.Backend):
    """The zoo's network, beside MXNet's adapter."""

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        self.network, self.options = network.name, dict(options)
        net = mxnet.gluon.model_zoo.vision.inception_v3(classes=options["num_classes"])
        if int.from_bytes(head(self.file, 28)[24:], "little") == mxnet_files.NUMPY_SHAPE:
            self._load_numpy_form(net)
        else:
            net.load_parameters(str(self.file), ctx=self.context, cast_dtype=True)
        net.cast(dtype)
        return net

    def _load_numpy_form(self, net: Any) -> None:
        """Load what was saved under `npx.set_np()`, which is read under it alone."""
        with mxnet.util.np_shape(True), mxnet.util.np_array(True):
            arrays = {
                name: array.as_nd_ndarray()
                for name, array in mxnet.npx.load(str(self.file)).items()
            }
        for name, parameter in net._collect_params_with_prefix().items():
            parameter._load_init(arrays[name], self.context, cast_dtype=True)

    def modules(self, net: Any, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
        yield "", net, False
        stages = net.features._children
        for stage in STAGES[self.network]:
            path = names.path(self.network, stage)
            yield stage, net.output if path == "output" else stages[path.split(".")[1]], True

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        return mxnet.nd.array(array, dtype=dtype, ctx=self.context)

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        found = net._collect_params_with_prefix()
        shared = weights.shapes(self.network, self.options)
        return {
            ours: found[theirs].data().asnumpy()
            for ours, theirs in names.names(self.network, shared, None).items()
        }
