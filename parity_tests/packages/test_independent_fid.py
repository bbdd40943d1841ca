"""FIDInception against pytorch-fid's network, in float64, with seeded weights and statistics."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import inception_pt
from inception_parity.backends.libraries.torchvision import models as torchvision_models
from inception_parity.data.images import photographs
from inception_parity.fid.extracting import PREPROCESSINGS, Extractor
from inception_parity.fid.gaussians import Gaussian, frechet_distance
from inception_parity.networks import catalogue
from inception_parity.traces import seeding

torchvision_models()  # pytorch-fid imports torchvision, which needs help with a CPU build
from pytorch_fid import fid_score  # noqa: E402
from pytorch_fid import inception as pytorch_fid  # noqa: E402

LIMIT = 1e-12  # measured: 1e-15; 4e-13 after a resize, where positions are rounded differently
TAPS = ("maxpool1", "maxpool2", "Mixed_6e", "avgpool")  # of 64, 192, 768 and 2048 channels
STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "avgpool", "fc"),
)


@pytest.fixture(scope="module")
def weights():
    """Return the seeded arrays, by shared names."""
    options = catalogue.network("fid_inception").resolve({})
    return seeding.seeded("fid_inception", options, 1).arrays


@pytest.fixture
def state(weights, monkeypatch):
    """Let pytorch-fid "download" these weights, under its own names."""
    renamed = {
        key.replace(".norm.", ".bn."): torch.from_numpy(array) for key, array in weights.items()
    }
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: dict(renamed))


def ours(weights, **options):
    net = inception_pt.FIDInception(**options).double().eval()
    inception_pt.set_weights(net, weights)
    return net


def outputs(net, x):
    """Run in inference; return {stage: output}."""
    seen = {}
    for path in STAGES:
        net.get_submodule(path).register_forward_hook(
            lambda _, __, y, path=path: seen.update({path: y.numpy()})
        )
    with torch.no_grad():
        net(torch.from_numpy(x))
    return seen


def images(*shape):
    return np.random.default_rng(1).uniform(0.0, 1.0, (2, 3, *shape))


def assert_close(found, expected, name):
    assert found.shape == expected.shape, name
    assert np.linalg.norm(found - expected) <= LIMIT * np.linalg.norm(expected), name


@pytest.mark.slow  # two whole V3, on images of 299x299
@pytest.mark.parametrize("size", [(299, 299), (64, 97)], ids=str)
def test_all_four_features_are_pytorch_fids(weights, state, size):
    x = images(*size)
    theirs = pytorch_fid.InceptionV3([0, 1, 2, 3]).double().eval()
    net = ours(weights, half_pixel_centres=True)
    found = outputs(net, x)
    with torch.no_grad():
        expected = [y.numpy() for y in theirs(torch.from_numpy(x))]
        features = {y.shape[1]: net.features(torch.from_numpy(x), y.shape[1]) for y in expected}
    for tap, y in zip(TAPS, expected, strict=True):
        assert_close(found[tap], y, tap)
        assert_close(features[y.shape[1]].numpy(), y.mean(axis=(2, 3)), tap)


# From 107 pixels on the last block's grid is 2x2: of one pixel, the largest value is the mean.
@pytest.mark.parametrize("size", [(107, 110), pytest.param((299, 299), marks=pytest.mark.slow)])
def test_every_stage_is_pytorch_fids(weights, state, size):
    x = images(*size)
    theirs = pytorch_fid.fid_inception_v3().double().eval()
    expected = outputs(theirs, 2 * x - 1)
    found = outputs(ours(weights, resize=False), x)
    assert list(found) == list(STAGES)
    for stage in STAGES:
        assert_close(found[stage], expected[stage], stage)


def test_parameters_are_pytorch_fids(state):
    theirs = sum(p.numel() for p in pytorch_fid.fid_inception_v3().parameters())
    assert theirs == sum(p.numel() for p in inception_pt.FIDInception().parameters())


def test_features_that_there_are_not_are_refused():
    with torch.device("meta"):
        net = inception_pt.FIDInception()
    with pytest.raises(ValueError, match=r"width=100, but should be one of \(64, 192, 768, 2048\)"):
        net.features(torch.zeros(1, 3, 8, 8, device="meta"), 100)


def pytorch_fids_distance(first, second):
    """Return pytorch-fid's distance of (mean, covariance) and (mean, covariance)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy: `disp` is deprecated; "Matrix is singular"
        return float(fid_score.calculate_frechet_distance(*first, *second))


def test_distance_is_pytorch_fids_where_images_are_many():
    rng = np.random.default_rng(2)
    features = [rng.normal(size=(300, 64)) @ rng.normal(size=(64, 64)) + i for i in (0, 1)]
    fitted = [(f.mean(axis=0), np.cov(f, rowvar=False)) for f in features]
    found = frechet_distance(*(Gaussian(300, *moments) for moments in fitted))
    assert found == pytest.approx(pytorch_fids_distance(*fitted), rel=1e-9)  # measured, 2e-15


class InFloat64(torch.nn.Module):
    """pytorch-fid's network, given pixels / 255 that aren't rounded to float32."""

    def __init__(self, features):
        super().__init__()
        block = pytorch_fid.InceptionV3.BLOCK_INDEX_BY_DIM[features]
        self.net = pytorch_fid.InceptionV3([block]).double()

    def forward(self, x):
        return self.net((x * 255).round().double() / 255)


@pytest.mark.parametrize("features", [64, pytest.param(2048, marks=pytest.mark.slow)])
def test_distance_of_photographs_and_their_jpeg_copies_is_pytorch_fids(
    weights, state, features, tmp_path
):
    folders = [photographs()[:2], [tmp_path / "0.jpg", tmp_path / "1.jpg"]]
    for file, copy in zip(*folders, strict=True):
        with Image.open(file) as image:
            image.convert("RGB").save(copy, quality=20)
    theirs = InFloat64(features)
    expected = [
        fid_score.calculate_activation_statistics(files, theirs, 1, features, "cpu", 0)
        for files in folders
    ]
    ours = Extractor("pt", weights, PREPROCESSINGS["pytorch-fid"], features, "float64")
    found = [ours.gaussian(files, 2, lambda _: None) for files in folders]
    for one, (mean, covariance) in zip(found, expected, strict=True):
        assert_close(one.mean, mean, "mean")
        # Measured, 2e-12: of 2048 features, some are nearly the same in both images.
        assert np.linalg.norm(one.covariance - covariance) <= 1e-10 * np.linalg.norm(covariance)
    distance = frechet_distance(*found)
    same = frechet_distance(*(Gaussian(2, *moments) for moments in expected))
    assert distance == pytest.approx(same, rel=1e-10)
    # Of a singular matrix SciPy's root "might be inaccurate", by its own warning.
    assert distance == pytest.approx(pytorch_fids_distance(*expected), rel=1e-3)
