"""Cross-entropy: what it takes, and what it gives back."""

from __future__ import annotations

import inspect

from .kit import Kit
from .topic import Answer, Topics

TOPICS = Topics()
LOGITS = ((2.0, 0.0, -1.0),)  # of one image of class 0


@TOPICS.experiment("cross-entropy-input")
def cross_entropy_input(kit: Kit) -> Answer:
    """Give logits to the default loss, and to one with `from_logits` where there is one."""
    x, y = kit.tensor(LOGITS), kit.tensor([0], "int64")
    match kit.framework:
        case "pt":
            loss = kit.nn.CrossEntropyLoss()(x, y).item()
            return Answer(f"{loss:.4f}: takes logits", {"loss": loss})
        case "tf":
            kind, order = kit.native.losses.SparseCategoricalCrossentropy, (y, x)
            said = "{:.4f}: takes probabilities (`from_logits=False`), and says nothing when given "
            said += "logits; with `from_logits=True` {:.4f}"
        case _:
            kind, order = kit.native.gluon.loss.SoftmaxCrossEntropyLoss, (x, y)
            said = "{:.4f}: takes logits; its `from_logits=True` means log-probabilities, {:.4f}"
    losses = [kit.array(loss(*order)).item() for loss in (kind(), kind(from_logits=True))]
    return Answer(said.format(*losses), dict(zip(("loss", "from_logits"), losses, strict=True)))


@TOPICS.experiment("cross-entropy-output")
def cross_entropy_output(kit: Kit) -> Answer:
    """Take the default loss over three images, and look for label smoothing in its arguments."""
    x, y = kit.tensor(LOGITS * 3), kit.tensor([0, 0, 0], "int64")
    match kit.framework:
        case "pt":
            smooth = kind = kit.nn.CrossEntropyLoss
            loss = kind()(x, y)
        case "tf":
            smooth = kit.native.losses.CategoricalCrossentropy
            loss = kit.native.losses.SparseCategoricalCrossentropy()(y, x)
        case _:
            smooth = kind = kit.native.gluon.loss.SoftmaxCrossEntropyLoss
            loss = kind()(x, y)
    shape = list(loss.shape)
    smoothing = any("smooth" in name for name in inspect.signature(smooth.__init__).parameters)
    text = f"{shape[0]} numbers, one per image" if shape else "one number, the mean"
    text += f"; label smoothing {'is an argument' if smoothing else 'is left to the user'}"
    return Answer(text, {"shape": shape, "smoothing": smoothing})
