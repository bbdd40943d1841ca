"""Losses of the Inception family in PyTorch."""

from __future__ import annotations

from torch import nn


class LabelSmoothing(nn.CrossEntropyLoss):
    """Cross-entropy with smoothed labels, PyTorch's own: the mean over the batch.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; epsilon 0.1 there.
    Deviation: none. The target is 1 - epsilon + epsilon / K for the label and
    epsilon / K for each other of K classes.

    Args:
        epsilon: share of the target that all classes divide among them.

    Shape:
        logits: (N, K)
        labels: (N,), whole numbers
        output: (), the mean

    Raises:
        ValueError: epsilon isn't in 0 … 1, without 1.
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        require_share(epsilon)
        super().__init__(label_smoothing=epsilon)


def require_share(epsilon: float) -> None:
    """Raise ValueError unless 0 <= epsilon < 1."""
    if not 0.0 <= epsilon < 1.0:
        raise ValueError(f"{epsilon=}, but should be at least 0 and less than 1")
