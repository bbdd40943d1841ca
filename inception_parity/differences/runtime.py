"""Outside the networks: precision, determinism, resizing of images."""

from __future__ import annotations

from .topic import Answer, Topic, listed

SQUARES = tuple(float(i * i) for i in range(8))  # a row of pixels, resized to two


def _tf32_pt() -> Answer:
    import torch

    cudnn = bool(torch.backends.cudnn.allow_tf32)
    matmul = bool(torch.backends.cuda.matmul.allow_tf32)
    on = {True: "on", False: "off"}
    text = f"convolutions (cuDNN) {on[cudnn]}, matrix products {on[matmul]}"
    return Answer(text, {"cudnn": cudnn, "matmul": matmul})


def _tf32_tf() -> Answer:
    import tensorflow as tf

    on = bool(tf.config.experimental.tensor_float_32_execution_enabled())
    return Answer(f"{'on' if on else 'off'} for both", {"on": on})


def _tf32_mx() -> Answer:
    import os

    override = os.environ.get("NVIDIA_TF32_OVERRIDE")
    text = "MXNet has no switch, and cuDNN's default is on"
    if override == "0":
        text += "; off here, since `NVIDIA_TF32_OVERRIDE=0` is set by our backend"
    return Answer(text, {"override": override})


def _determinism_pt() -> Answer:
    import torch

    on = torch.are_deterministic_algorithms_enabled()
    text = "`torch.use_deterministic_algorithms(True)`, and CUBLAS_WORKSPACE_CONFIG for cuBLAS"
    return Answer(f"{'on' if on else 'off'}; {text}", {"on": on})


def _determinism_tf() -> Answer:
    from tensorflow.python.framework import config

    on = bool(config.is_op_determinism_enabled())
    text = "`tf.config.experimental.enable_op_determinism()`, which needs a seed as well"
    return Answer(f"{'on' if on else 'off'}; {text}", {"on": on})


def _determinism_mx() -> Answer:
    import os

    on = os.environ.get("MXNET_ENFORCE_DETERMINISM") == "1"
    text = "MXNET_ENFORCE_DETERMINISM=1 before the import, and no search for fast cuDNN kernels"
    said = "on here, set by our backend" if on else "off"
    return Answer(f"{said}; {text}", {"on": on})


def _resized(found: list[float], centres: str) -> Answer:
    return Answer(f"{listed(found)}: {centres}", {"row": found}, _pillow())


def _resize_pt() -> Answer:
    import torch

    x = torch.tensor(SQUARES).reshape(1, 1, 1, 8)
    resize = torch.nn.functional.interpolate
    found = resize(x, size=(1, 2), mode="bilinear").flatten().tolist()
    smooth = resize(x, size=(1, 2), mode="bilinear", antialias=True).flatten().tolist()
    seen = _resized(found, "pixel centres, no antialiasing")
    return seen.more(f"; {listed(smooth)} with `antialias=True`", antialias=smooth)


def _resize_tf() -> Answer:
    import numpy as np
    import tensorflow as tf

    x = np.reshape(SQUARES, (1, 1, 8, 1)).astype("float32")
    found = np.ravel(tf.image.resize(x, (1, 2))).tolist()
    smooth = np.ravel(tf.image.resize(x, (1, 2), antialias=True)).tolist()
    seen = _resized(found, "pixel centres, no antialiasing")
    return seen.more(f"; {listed(smooth)} with `antialias=True`", antialias=smooth)


def _resize_mx() -> Answer:
    from inception_mx._mxnet import mxnet

    x = mxnet.nd.array(SQUARES).reshape((1, 1, 1, 8))
    resize = mxnet.nd.contrib.BilinearResize2D
    found = resize(x, height=1, width=2).asnumpy().ravel().tolist()
    centres = resize(x, height=1, width=2, align_corners=False).asnumpy().ravel().tolist()
    seen = _resized(found, "the corners are aligned")
    return seen.more(f"; {listed(centres)} with `align_corners=False`", centres=centres)


def _pillow() -> str:
    """Return the row as resized by Pillow, which resizes all images here."""
    import numpy as np
    from PIL import Image

    row = Image.fromarray(np.array([SQUARES], "float32"))
    small = np.asarray(row.resize((2, 1), Image.Resampling.BILINEAR))
    return listed(small.ravel())


TOPICS = (
    Topic(
        "tf32",
        "TF32 on GPUs",
        "The switches right after the import; the arithmetic changes only on a GPU.",
        "With TF32 a GPU rounds the factors of a float32 product to 11 bits: the errors are those "
        "of float16, although float32 was asked for.",
        "On a GPU every backend switches it off before anything is computed.",
        {"pt": _tf32_pt, "tf": _tf32_tf, "mx": _tf32_mx},
    ),
    Topic(
        "determinism",
        "Determinism",
        "Whether deterministic kernels are on, and how to switch them on.",
        "On a GPU, sums may be computed in a different order each time, so two runs of the same "
        "network differ.",
        "The backends of PyTorch and TensorFlow switch it on for GPUs, MXNet's everywhere.",
        {"pt": _determinism_pt, "tf": _determinism_tf, "mx": _determinism_mx},
    ),
    Topic(
        "resize",
        "Resizing images",
        "A row of eight pixels, the squares 0 to 49, resized to two with bilinear interpolation.",
        "Without antialiasing three quarters of the pixels are never read; with aligned corners "
        "different ones are. The difference arises before the first layer, so no comparison "
        "of layers shows it.",
        "All images are resized once, by Pillow, which antialiases, and every backend gets the "
        "same array.",
        {"pt": _resize_pt, "tf": _resize_tf, "mx": _resize_mx},
    ),
)
