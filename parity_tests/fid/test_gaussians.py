"""The Fréchet distance against closed forms and other ways to compute it."""

from __future__ import annotations

import numpy as np
import pytest

from inception_parity.fid.gaussians import Gaussian, Moments, frechet_distance

RNG = np.random.default_rng


def fitted(features, *batches):
    """Return the distribution of features that come in batches that end at `batches`."""
    moments = Moments(features.shape[1])
    for part in np.split(features, batches):
        moments.add(part)
    return moments.gaussian()


def test_batches_of_any_size_give_numpys_mean_and_covariance():
    features = RNG(0).normal(size=(23, 5)) + 1e6  # a mean that would drown the covariance
    found = fitted(features, 1, 2, 9, 20)
    assert found.count == 23
    np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-8)


def test_distance_of_independent_features_is_that_of_their_deviations():
    means, variances = RNG(1).normal(size=(2, 7)), RNG(2).uniform(0.1, 9.0, (2, 7))
    first, second = (Gaussian(9, m, np.diag(v)) for m, v in zip(means, variances, strict=True))
    expected = ((means[0] - means[1]) ** 2).sum() + (np.diff(np.sqrt(variances), axis=0) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-13)


def test_distance_takes_the_eigenvalues_of_the_product():
    first, second = (fitted(RNG(seed).normal(size=(40, 9)) * seed) for seed in (3, 4))
    product = np.linalg.eigvals(first.covariance @ second.covariance)  # it isn't symmetric
    expected = ((first.mean - second.mean) ** 2).sum() - 2 * np.sqrt(product.real).sum()
    expected += np.trace(first.covariance + second.covariance)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-12)


def test_fewer_images_than_features_leave_no_noise():
    features = [RNG(seed).normal(size=(6, 300)) * 30 for seed in (5, 6)]
    first, second = map(fitted, features)
    centred = [f - f.mean(axis=0) for f in features]
    # 6 x 6 numbers hold all of the covariances' product that isn't zero.
    cross = np.linalg.svd(centred[0] @ centred[1].T / 5, compute_uv=False).sum()
    expected = ((first.mean - second.mean) ** 2).sum() - 2 * cross
    expected += np.trace(first.covariance + second.covariance)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("images", [6, 400])
def test_distance_to_itself_is_rounding(images):
    one = fitted(RNG(7).normal(size=(images, 40)))
    assert abs(frechet_distance(one, one)) <= 1e-12 * np.trace(one.covariance)


def test_images_that_are_all_alike_have_a_distance():
    one, two = (fitted(np.full((3, 4), value)) for value in (1.0, 3.0))
    assert frechet_distance(one, two) == pytest.approx(4 * 4.0)
