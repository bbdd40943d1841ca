"""The Gluon model zoo's `inception_v3`, by `load_parameters`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from inception_mx._mxnet import mxnet

from ...formats import head
from ...formats import mxnet as mxnet_files
from .. import mx
from .from_file import FromFile

mxnet.npx.reset_np()  # the zoo has the older interface; this process runs nothing else


class Backend(FromFile, mx.Backend):  # type: ignore[misc]  # no module needs a prefix
    """The zoo's network, run by MXNet's adapter."""

    def load(self, dtype: str) -> Any:
        net = mxnet.gluon.model_zoo.vision.inception_v3(classes=self.options["num_classes"])
        if int.from_bytes(head(self.file, 28)[24:], "little") == mxnet_files.NUMPY_SHAPE:
            self._load_numpy_form(net)
        else:
            net.load_parameters(str(self.file), ctx=self.context, cast_dtype=True)
        net.cast(dtype)
        return net

    def _load_numpy_form(self, net: Any) -> None:
        """Load what was saved under `npx.set_np()`, which can only be read under it."""
        with mxnet.util.np_shape(True), mxnet.util.np_array(True):
            arrays = {
                name: array.as_nd_ndarray()
                for name, array in mxnet.npx.load(str(self.file)).items()
            }
        for name, parameter in net._collect_params_with_prefix().items():
            parameter._load_init(arrays[name], self.context, cast_dtype=True)

    def module_at(self, net: Any, path: str) -> Any:
        stage, _, number = path.partition(".")
        return net.features._children[number] if number else getattr(net, stage)

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        return mxnet.nd.array(array, dtype=dtype, ctx=self.context)

    def arrays(self, net: Any) -> dict[str, NDArray[Any]]:
        return {
            name: parameter.data().asnumpy()
            for name, parameter in net._collect_params_with_prefix().items()
        }
