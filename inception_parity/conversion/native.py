"""Networks of our own packages in files as their frameworks write them, read back to be sure.

PyTorch's state dict, Keras' whole model, weights, SavedModel and TFLite, Gluon's parameters. A
file that holds weights alone is read into a new network; what holds a graph is run.
"""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Callable
from inspect import isfunction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import Adapter, adapter
from ..backends.quiet import quiet
from ..errors import InputError
from ..networks import catalogue
from ..traces import weights
from ..traces.weights import SharedWeights
from .verifying import pictures

# By backend, the suffixes that say in which of its formats a file is written.
SUFFIXES = {
    "pt": (".pth", ".pt"),
    "tf": (".keras", ".weights.h5", ".savedmodel", ".tflite"),
    "mx": (".params",),
}
# Largest difference, relative to the largest output, that a compiled graph may make in float32.
LIMIT_GRAPH = 1e-4

Run = Callable[[NDArray[Any]], NDArray[Any]]


def backend_of(target: Path) -> str:
    """Return the backend that a target's suffix stands for; nothing if there is none."""
    return next((b for b, suffixes in SUFFIXES.items() if target.name.endswith(suffixes)), "")


def write(backend: str, shared: SharedWeights, file: Path, target: Path) -> None:
    """Write the network of `shared` to `file` in the format that `target`'s suffix says.

    Args:
        backend: whose network, `pt`, `tf` or `mx`.
        shared: the weights, with the network and its options.
        file: what is written; a folder for a SavedModel.
        target: the name that it will have.

    Raises:
        InputError: it can't be written, or what is read back isn't what was written.
    """
    info = catalogue.backend(backend)
    suffix = next(s for s in SUFFIXES[backend] if target.name.endswith(s))
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exporters warn about themselves
        by = adapter(backend)
        net = weights.built(shared, info)
        try:
            read_back = _WRITERS[suffix](net, file, lambda: _empty(shared, info))
        except (OSError, RuntimeError) as error:
            raise InputError(f"{target}: can't be written ({error})") from error
        if isfunction(read_back):  # a network can be called, too
            wrong = _differs(by, net, read_back, shared)
        else:
            held = importlib.import_module(info.package).get_weights(read_back)
            wrong = [n for n, a in shared.arrays.items() if not np.array_equal(held.get(n), a)]
    if wrong:
        raise InputError(f"{target}: read back, it differs: {', '.join(wrong[:3])}")


def remove(file: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if file.is_dir():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)


def _empty(shared: SharedWeights, info: catalogue.BackendInfo) -> Any:
    return catalogue.network(shared.network).build(info.package, shared.options)


def _differs(by: Adapter, net: Any, run: Run, shared: SharedWeights) -> list[str]:
    """Return what is wrong with a graph, which is run on a photograph and on noise."""
    network = catalogue.network(shared.network)
    x = pictures(network.size, int(shared.options["in_channels"])).transpose(0, 2, 3, 1)
    x = x.astype(np.float32)
    first = net(x)
    expected = np.asarray(first[0] if isinstance(first, tuple) else first)
    found = run(x)
    if found.shape != expected.shape:
        return [f"outputs of shape {found.shape}, but should be {expected.shape}"]
    apart = float(np.abs(found - expected).max() / np.abs(expected).max())
    return [] if apart <= LIMIT_GRAPH else [f"outputs {apart:.1e} apart, relative to the largest"]


def _state_dict(net: Any, file: Path, empty: Callable[[], Any]) -> Any:
    import torch

    torch.save(net.state_dict(), file)
    back = empty()
    back.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return back


def _whole_model(net: Any, file: Path, empty: Callable[[], Any]) -> Any:
    import keras

    net.save(file)
    return keras.models.load_model(file)


def _keras_weights(net: Any, file: Path, empty: Callable[[], Any]) -> Any:
    net.save_weights(file)
    back = empty()
    back.load_weights(file)
    return back


def _saved_model(net: Any, file: Path, empty: Callable[[], Any]) -> Run:
    import tensorflow as tf

    net.export(file, verbose=False)
    saved = tf.saved_model.load(file)
    return lambda x: _first(saved.serve(x))


def _tflite(net: Any, file: Path, empty: Callable[[], Any]) -> Run:
    import tensorflow as tf

    file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(net).convert())
    lite = tf.lite.Interpreter(model_path=str(file))

    def run(x: NDArray[Any]) -> NDArray[Any]:
        index = lite.get_input_details()[0]["index"]
        lite.resize_tensor_input(index, x.shape)
        lite.allocate_tensors()
        lite.set_tensor(index, x)
        lite.invoke()
        found: NDArray[Any] = lite.get_tensor(lite.get_output_details()[0]["index"])
        return found

    return run


def _first(outputs: Any) -> NDArray[Any]:
    return np.asarray(outputs[0] if isinstance(outputs, (tuple, list)) else outputs)


def _gluon_parameters(net: Any, file: Path, empty: Callable[[], Any]) -> Any:
    net.save_parameters(str(file))
    back = empty()
    back.load_parameters(str(file))
    return back


_WRITERS: dict[str, Callable[[Any, Path, Callable[[], Any]], Any]] = {
    ".pth": _state_dict,
    ".pt": _state_dict,
    ".keras": _whole_model,
    ".weights.h5": _keras_weights,
    ".savedmodel": _saved_model,
    ".tflite": _tflite,
    ".params": _gluon_parameters,
}
