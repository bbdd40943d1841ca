"""Losses of the Inception family in MXNet Gluon."""

from __future__ import annotations

from typing import Any

from ._mxnet import gluon


class LabelSmoothing(gluon.loss.Loss):
    """Cross-entropy with smoothed labels: one value per image, as Gluon's losses give.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; epsilon 0.1 there.
    Deviation: none. The target is 1 - epsilon + epsilon / K for the label and
    epsilon / K for each other of K classes.

    Args:
        epsilon: share of the target that all classes divide among them.

    Shape:
        logits: (N, K)
        labels: (N,), whole numbers
        output: (N,); `trainer.step(N)` makes it the mean

    Raises:
        ValueError: epsilon isn't in 0 … 1, without 1.
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        require_share(epsilon)
        super().__init__(weight=None, batch_axis=0)
        self.epsilon = epsilon

    def hybrid_forward(self, F: Any, logits: Any, labels: Any) -> Any:
        log_p = F.npx.log_softmax(logits, axis=-1)
        of_label = F.npx.pick(log_p, labels, axis=-1)
        return -(1.0 - self.epsilon) * of_label - self.epsilon * log_p.mean(axis=-1)


def require_share(epsilon: float) -> None:
    """Raise ValueError unless 0 <= epsilon < 1."""
    if not 0.0 <= epsilon < 1.0:
        raise ValueError(f"{epsilon=}, but should be at least 0 and less than 1")
