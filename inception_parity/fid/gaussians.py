"""Normal distributions fitted to features, and the Fréchet distance between two of them.

Source: Heusel et al. 2017, arXiv:1706.08500, equation 6:

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)

(C1 C2)^(1/2) isn't computed. With Ci = Ai^T Ai, the eigenvalues of C1 C2 are the squares of the
singular values of A1 A2^T, so that the last trace is their sum. Ai comes from the eigenvalues L
and eigenvectors V of the symmetric Ci: Ai = L^(1/2) V^T. With fewer images than features most
eigenvalues are zero but for rounding, whose square roots would add up; they are left out. SciPy's
`sqrtm` of the product, which pytorch-fid and others use, keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution, as a mean and a covariance, fitted to `count` images."""

    count: int
    mean: Array
    covariance: Array  # the sum over images divided by count - 1


class Moments:
    """Mean and covariance of features that come in batches, in float64.

    Batches are merged as in Chan, Golub and LeVeque 1983: about the means, so that nothing is
    lost where these are large.

    Args:
        width: number of features.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = np.zeros(width)
        self.scatter = np.zeros((width, width))  # the sum of (x - mean) (x - mean)^T

    def add(self, features: Array) -> None:
        """Take in a batch, (N, width)."""
        n, total = len(features), self.count + len(features)
        mean = features.mean(axis=0)
        centred = features - mean
        shift = mean - self.mean
        self.scatter += centred.T @ centred + np.outer(shift, shift) * (self.count * n / total)
        self.mean += shift * (n / total)
        self.count = total

    def gaussian(self) -> Gaussian:
        """Return the distribution of what was taken in: two images or more."""
        return Gaussian(self.count, self.mean.copy(), self.scatter / (self.count - 1))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return the squared Fréchet distance, which is what FID means."""
    shift = first.mean - second.mean
    product = _factor(first.covariance) @ _factor(second.covariance).T
    cross = np.linalg.svd(product, compute_uv=False).sum() if product.size else 0.0
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(shift @ shift + traces - 2.0 * cross)


def _factor(covariance: Array) -> Array:
    """Return A, (rank, width), with A^T A = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    factor: Array = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return factor
