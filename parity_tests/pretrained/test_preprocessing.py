"""Preprocessing of photographs: the definition, the libraries', and every package's own.

Sizes are even and odd, and the packages' pixels are those of Pillow, bit for bit.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inception_parity import InputError, pretrained
from inception_parity.data import images
from inception_parity.networks import catalogue
from inception_parity.pretrained import Preprocessing

from ..conftest import loaded_adapter
from ..support.selection import slow_unless

STEPS = {entry.preprocessing.name: entry.preprocessing for entry in pretrained.entries().values()}
OF = {entry.preprocessing.name: entry.name for entry in pretrained.entries().values()}
QUICK = ("torchvision-224", "keras-299")

every_backend = pytest.mark.parametrize("backend", ["np", "pt", "tf", "mx"])


def photographs(most: int | None = None) -> Iterator[Image.Image]:
    """Yield the photographs: as they are, a pixel less wide, small enough to be enlarged, tall."""
    for file in images.photographs()[:most]:
        image = images.decoded(file, "RGB")
        yield image
        yield image.resize((image.width - 1, image.height))
        yield image.resize((151, 100))
        yield image.resize((301, 402))


def package(backend: str) -> Any:
    loaded_adapter(backend)
    return importlib.import_module(catalogue.BACKENDS[backend].package)


def as_array(backend: str, found: Any) -> np.ndarray[Any, Any]:
    """Return what a package's transform returns as (…, 3, H, W)."""
    array = found.asnumpy() if backend == "mx" else np.asarray(found)
    return np.moveaxis(array, -1, -3) if backend == "tf" else array


@every_backend
@pytest.mark.parametrize("name", STEPS)
@slow_unless(
    lambda p: p["name"] in QUICK and p["backend"] == "pt",
    "all photographs in every framework",
)
def test_every_package_computes_the_definition_bit_for_bit(backend: str, name: str) -> None:
    transform = package(backend).load_preprocessing(OF[name])
    for image in photographs(None if backend == "np" else 1):
        expected = STEPS[name](image)
        found = as_array(backend, transform(image))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected, str(image.size))


@every_backend
def test_small_images_are_computed_alike_in_every_package(backend: str) -> None:
    """What the slow test shows with photographs, on images of a few pixels."""
    rng = np.random.default_rng(0)
    for interpolation in ("nearest", "bilinear", "bicubic"):
        for antialias in (True, False):
            steps = Preprocessing("", "", 24, (21, 20), interpolation, antialias, std=(0.5,) * 3)
            transform = package(backend).Preprocess(**steps.settings())
            for size in ((31, 40), (64, 47), (20, 23)):
                pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                found = as_array(backend, transform(pixels))
                np.testing.assert_array_equal(found, steps(Image.fromarray(pixels)))


@every_backend
def test_a_batch_is_its_images(backend: str) -> None:
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (2, 30, 41, 3), dtype=np.uint8)
    transform = package(backend).Preprocess(resize=20, crop=(16, 17))
    found = as_array(backend, transform(batch))
    assert found.shape == (2, 3, 16, 17)
    one_by_one = [as_array(backend, transform(image)) for image in batch]
    np.testing.assert_array_equal(found, np.stack(one_by_one))


@every_backend
def test_what_cant_be_preprocessed_is_refused(backend: str) -> None:
    kind = package(backend).Preprocess
    for settings, message in (
        ({"interpolation": "lanczos"}, "should be one of nearest, bilinear, bicubic"),
        ({"resize": 10, "crop": (11, 8)}, "at most resize=10"),
        ({"resize": 0}, "sides should be 1 or more"),
        ({"value_range": (1.0, 0.0)}, "should increase"),
        ({"std": (1.0, 0.0, 1.0)}, "be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(**settings)
    for pixels, message in (
        (np.zeros((8, 8, 3), np.float32), "float32, but should be of uint8"),
        (np.zeros((8, 8, 4), np.uint8), "should have 3: red, green and blue"),
        (np.zeros((8, 8, 3), np.uint8), "should be at least crop=9"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(crop=(9, 9))(pixels)


def test_a_grey_image_becomes_rgb() -> None:
    grey = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    found = package("np").Preprocess()(grey)
    assert found.shape == (3, 6, 8)
    np.testing.assert_array_equal(found[0], found[2])


def test_a_pytorch_tensor_has_its_channels_first() -> None:
    torch = pytest.importorskip("torch")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    transform = package("pt").Preprocess(resize=20)
    found = transform(torch.from_numpy(pixels.transpose(2, 0, 1).copy()))
    np.testing.assert_array_equal(found, transform(pixels))


@pytest.mark.slow  # Keras and TensorFlow compile a graph; the eager layer is tested above
def test_a_keras_model_preprocesses_images_of_any_size(tmp_path: Path) -> None:
    kind = package("tf").Preprocess
    import keras
    import tensorflow as tf

    inputs = keras.Input((None, None, 3), dtype="uint8")
    steps = kind(**STEPS["torchvision-224"].settings())
    keras.Model(inputs, steps(inputs)).save(tmp_path / "steps.keras")
    model = keras.models.load_model(tmp_path / "steps.keras")
    assert model.output_shape == (None, 224, 224, 3)
    again = kind.from_config(steps.get_config())
    pictures = list(photographs(1))
    given = tf.data.Dataset.from_generator(
        lambda: map(np.asarray, pictures),
        output_signature=tf.TensorSpec((None, None, 3), tf.uint8),  # sizes are known only later
    )
    for image, mapped in zip(pictures, given.map(again), strict=True):
        expected = STEPS["torchvision-224"](image).transpose(1, 2, 0)
        np.testing.assert_array_equal(mapped, expected)
        np.testing.assert_array_equal(model(np.asarray(image)[None])[0], expected)


@pytest.mark.parametrize("name", ["torchvision/inception_v3", "torchvision/googlenet"])
def test_torchvision_preprocesses_alike(name: str) -> None:
    models = pytest.importorskip("inception_parity.backends.libraries.torchvision").models()
    kind = {"inception_v3": "Inception_V3_Weights", "googlenet": "GoogLeNet_Weights"}
    transform = getattr(models, kind[name.partition("/")[2]]).DEFAULT.transforms()
    for image in photographs(2):
        found = pretrained.entry(name).preprocessing(image)
        np.testing.assert_array_equal(found, transform(image), str(image.size))


@pytest.mark.parametrize("name", [name for name in pretrained.entries() if name[:5] == "timm/"])
def test_timm_preprocesses_alike(name: str) -> None:
    pytest.importorskip("inception_parity.backends.libraries.torchvision")
    timm = pytest.importorskip("timm")
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config(timm.get_pretrained_cfg(name.partition("/")[2]).to_dict())
    transform = create_transform(**config)
    for image in photographs(1):
        found = pretrained.entry(name).preprocessing(image)
        np.testing.assert_array_equal(found, transform(image), str(image.size))


def test_keras_preprocesses_alike() -> None:
    package("tf")
    import keras

    for file in images.photographs()[:2]:
        loaded = keras.utils.load_img(file, target_size=(299, 299))
        expected = keras.applications.inception_v3.preprocess_input(np.array(loaded, np.float32))
        found = STEPS["keras-299"](images.decoded(file, "RGB"))
        np.testing.assert_array_equal(found.transpose(1, 2, 0), expected)


def test_facenet_pytorch_standardises_alike() -> None:
    pytest.importorskip("inception_parity.backends.libraries.torchvision")
    facenet = pytest.importorskip("facenet_pytorch")
    face = images.decoded(images.photographs()[0], "RGB").resize((160, 160))
    pixels = np.asarray(face, np.float32).transpose(2, 0, 1)
    expected = facenet.fixed_image_standardization(pixels)
    np.testing.assert_array_equal(STEPS["facenet-160"](face), expected)


def test_opencv_resizes_almost_as_without_antialiasing() -> None:
    """Gluon's `imresize` is OpenCV's, which rounds once, not twice: one of 255 levels at most."""
    package("mx")
    import mxnet

    for image in photographs(2):
        pixels = mxnet.np.array(np.asarray(image), dtype="uint8")
        resized = mxnet.image.resize_short(pixels, 342, interp=1).asnumpy()
        found = np.asarray(Preprocessing(resize=342, antialias=False).fitted(image))
        difference = np.abs(resized.astype(int) - found)
        assert difference.max() <= 1
        assert difference.mean() < 0.25  # measured, 0.15 to 0.21


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises((ValueError, InputError), match="should be at least crop=9"):
        Preprocessing(crop=(9, 9))(Image.new("RGB", (8, 8)))
