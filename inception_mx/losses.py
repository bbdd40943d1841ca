"""Losses of the Inception family in MXNet Gluon."""

from __future__ import annotations

from typing import Any

from ._mxnet import gluon


class LabelSmoothing(gluon.loss.Loss):
    """Cross-entropy with smoothed labels: one value per image, as in Gluon's losses.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; epsilon 0.1 there.
    Deviation: none. With K classes, the target is 1 - epsilon + epsilon / K for the
    label and epsilon / K for every other class.

    Args:
        epsilon: share of the target that is divided among all classes.

    Shape:
        logits: (N, K)
        labels: (N,), whole numbers
        output: (N,); `trainer.step(N)` makes it the mean

    Raises:
        ValueError: epsilon isn't in [0, 1).
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        require_share(epsilon)
        super().__init__(weight=None, batch_axis=0)
        self.epsilon = epsilon

    def hybrid_forward(self, F: Any, logits: Any, labels: Any) -> Any:
        log_p = F.npx.log_softmax(logits, axis=-1)
        of_label = F.npx.pick(log_p, labels, axis=-1)
        return -(1.0 - self.epsilon) * of_label - self.epsilon * log_p.mean(axis=-1)


class TrainingLoss(gluon.loss.Loss):
    """The loss that a network is trained with: its classifier's plus its heads', weighted.

    loss(logits) + aux_weight * (the sum of loss(logits of a head) over the heads),
    where loss is LabelSmoothing, for the heads as well.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 5: each head weighs 0.3;
    TF-slim's inception_v3: 0.4. Labels smoothed by 0.1: Szegedy et al. 2015.
    Deviation: none.

    Args:
        epsilon: share of the target that is divided among all classes; 0 for
            plain cross-entropy.
        aux_weight: weight of each auxiliary head.

    Shape:
        outputs: what a network returns in training: (N, K), or a tuple of them, the
            classifier's first
        labels: (N,), whole numbers
        output: (N,); `trainer.step(N)` makes it the mean

    Raises:
        ValueError: epsilon isn't in [0, 1), or aux_weight is negative.
    """

    def __init__(self, epsilon: float = 0.0, aux_weight: float = 0.3) -> None:
        super().__init__(weight=None, batch_axis=0)
        require_weight(aux_weight)
        self.smoothing = LabelSmoothing(epsilon)
        self.aux_weight = aux_weight

    def hybrid_forward(self, F: Any, outputs: Any, labels: Any) -> Any:
        logits, *heads = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        loss = self.smoothing(logits, labels)
        for head in heads:
            loss = loss + self.aux_weight * self.smoothing(head, labels)
        return loss


def require_share(epsilon: float) -> None:
    """Raise ValueError unless 0 <= epsilon < 1."""
    if not 0.0 <= epsilon < 1.0:
        raise ValueError(f"{epsilon=}, but should be at least 0 and less than 1")


def require_weight(aux_weight: float) -> None:
    """Raise ValueError unless aux_weight is at least 0 and finite."""
    if not 0.0 <= aux_weight < float("inf"):
        raise ValueError(f"{aux_weight=}, but should be at least 0 and finite")
