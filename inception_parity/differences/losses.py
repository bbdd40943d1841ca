"""Cross-entropy: what it takes, and what it gives back."""

from __future__ import annotations

from .topic import Answer, Topic

LOGITS = ((2.0, 0.0, -1.0),)  # of one image of class 0


def _seen(loss: float, takes: str) -> Answer:
    return Answer(f"{loss:.4f}: takes {takes}", {"loss": loss})


def _input_pt() -> Answer:
    import torch

    loss = torch.nn.CrossEntropyLoss()(torch.tensor(LOGITS), torch.tensor([0]))
    return _seen(loss.item(), "logits")


def _input_tf() -> Answer:
    import keras
    import numpy as np

    x, y = np.array(LOGITS, "float32"), np.array([0])
    wrong = float(keras.losses.SparseCategoricalCrossentropy()(y, x))
    right = float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, x))
    seen = _seen(wrong, "probabilities (`from_logits=False`), and says nothing when given logits")
    return seen.more(f"; with `from_logits=True` {right:.4f}", from_logits=right)


def _input_mx() -> Answer:
    from inception_mx._mxnet import gluon, mxnet

    x, y = mxnet.np.array(LOGITS), mxnet.np.array([0])
    loss = gluon.loss.SoftmaxCrossEntropyLoss
    plain, logs = loss()(x, y).item(), loss(from_logits=True)(x, y).item()
    seen = _seen(plain, "logits; its `from_logits=True` means log-probabilities")
    return seen.more(f", {logs:.4f}", from_logits=logs)


def _output(shape: tuple[int, ...], smoothing: bool) -> Answer:
    what = "one number, the mean" if not shape else f"{shape[0]} numbers, one per image"
    text = f"{what}; label smoothing {'is an argument' if smoothing else 'is left to the user'}"
    return Answer(text, {"shape": list(shape), "smoothing": smoothing})


def _output_pt() -> Answer:
    import inspect

    import torch

    loss = torch.nn.CrossEntropyLoss()(torch.tensor(LOGITS * 3), torch.tensor([0, 0, 0]))
    names = inspect.signature(torch.nn.CrossEntropyLoss.__init__).parameters
    return _output(tuple(loss.shape), "label_smoothing" in names)


def _output_tf() -> Answer:
    import inspect

    import keras
    import numpy as np

    loss = keras.losses.SparseCategoricalCrossentropy()(np.zeros(3), np.array(LOGITS * 3))
    names = inspect.signature(keras.losses.CategoricalCrossentropy.__init__).parameters
    return _output(tuple(loss.shape), "label_smoothing" in names)


def _output_mx() -> Answer:
    import inspect

    from inception_mx._mxnet import gluon, mxnet

    kind = gluon.loss.SoftmaxCrossEntropyLoss
    loss = kind()(mxnet.np.array(LOGITS * 3), mxnet.np.zeros(3))
    names = inspect.signature(kind.__init__).parameters
    return _output(tuple(loss.shape), any("smooth" in name for name in names))


TOPICS = (
    Topic(
        "cross-entropy-input",
        "What cross-entropy takes",
        "The default loss of the logits 2, 0, -1 for class 0; the right answer is 0.1698.",
        "The same argument, `from_logits`, means logits in Keras and log-probabilities in MXNet. "
        "With the wrong one a network still trains, slowly, towards something else.",
        "Networks here return logits, and the losses of all packages take logits.",
        {"pt": _input_pt, "tf": _input_tf, "mx": _input_mx},
    ),
    Topic(
        "cross-entropy-output",
        "What cross-entropy returns",
        "The shape of the default loss over three images.",
        "MXNet's backward pass from a vector is that of its sum: the gradient is too large by a "
        "factor of the batch size, unless `trainer.step` divides by it.",
        "`LabelSmoothing` returns the mean over the batch in all packages; with epsilon 0 it is "
        "cross-entropy.",
        {"pt": _output_pt, "tf": _output_tf, "mx": _output_mx},
    ),
)
