"""Outside the networks: precision, determinism, resizing of images."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kit import Kit
from .topic import Answer, Topics, listed

TOPICS = Topics()
SQUARES = np.square(np.arange(8.0, dtype="float32"))  # a row of pixels, resized to two
ON = {True: "on", False: "off"}


@TOPICS.experiment("tf32")
def tf32(kit: Kit) -> Answer:
    """Read the switches."""
    match kit.framework:
        case "pt":
            backends = kit.native.backends
            cudnn, matmul = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
            text = f"convolutions (cuDNN) {ON[cudnn]}, matrix products {ON[matmul]}"
            return Answer(text, {"cudnn": cudnn, "matmul": matmul})
        case "tf":
            import tensorflow as tf

            on = tf.config.experimental.tensor_float_32_execution_enabled()
            return Answer(f"{ON[on]} for both", {"on": on})
        case _:
            override = os.environ.get("NVIDIA_TF32_OVERRIDE")
            text = "MXNet has no switch, and cuDNN's default is on"
            if override == "0":
                text += "; off here, since `NVIDIA_TF32_OVERRIDE=0` is set by our backend"
            return Answer(text, {"override": override})


@TOPICS.experiment("determinism")
def determinism(kit: Kit) -> Answer:
    """Read the switches."""
    match kit.framework:
        case "pt":
            on = kit.native.are_deterministic_algorithms_enabled()
            how = "`torch.use_deterministic_algorithms(True)`, and CUBLAS_WORKSPACE_CONFIG for "
            how += "cuBLAS"
        case "tf":
            from tensorflow.python.framework import config

            on = config.is_op_determinism_enabled()
            how = "`tf.config.experimental.enable_op_determinism()`, which needs a seed as well"
        case _:
            on = os.environ.get("MXNET_ENFORCE_DETERMINISM") == "1"
            how = "MXNET_ENFORCE_DETERMINISM=1 before the import, and no search for fast cuDNN "
            how += "kernels"
    here = " here, set by our backend" if on and kit.framework == "mx" else ""
    return Answer(f"{ON[on]}{here}; {how}", {"on": on})


@TOPICS.experiment("resize")
def resize(kit: Kit) -> Answer:
    """Resize a row by default, and with the option that changes most."""
    match kit.framework:
        case "pt":
            resized = partial(kit.nn.functional.interpolate, size=(1, 2), mode="bilinear")
        case "tf":
            import tensorflow as tf

            resized = partial(tf.image.resize, size=(1, 2))
        case _:
            resized = partial(_mxnet_resize, kit)
    if kit.framework == "mx":
        said, name, option = "the corners are aligned", "centres", {"align_corners": False}
    else:
        said, name, option = "pixel centres, no antialiasing", "antialias", {"antialias": True}
    x = SQUARES.reshape(1, 1, 1, 8)
    rows = [kit.run(partial(resized, **o), x).ravel().tolist() for o in ({}, option)]
    ((key, value),) = option.items()
    text = f"{listed(rows[0])}: {said}; {listed(rows[1])} with `{key}={value}`"
    return Answer(text, {"row": rows[0], name: rows[1]}, listed(_pillow()))


def _mxnet_resize(kit: Kit, x: Any, **options: bool) -> Any:
    return kit.native.nd.contrib.BilinearResize2D(x.as_nd_ndarray(), height=1, width=2, **options)


def _pillow() -> NDArray[Any]:
    """Return the row as resized by Pillow, which resizes all images here."""
    from PIL import Image

    row = Image.fromarray(SQUARES.reshape(1, 8))
    return np.asarray(row.resize((2, 1), Image.Resampling.BILINEAR)).ravel()
