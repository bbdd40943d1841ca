"""The preprocessing against its description, and the message for every kind of bad input."""

from __future__ import annotations

import struct
import tempfile
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inception_parity import InputError, numerics
from inception_parity.data import images

SHORT = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def picture(width, height, mode="RGB", seed=0):
    """Return an image without symmetry."""
    bands = {"RGB": 3, "RGBA": 4, "L": 1, "LA": 2}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return Image.fromarray(pixels if bands > 1 else pixels[..., 0], mode)


def slow_box(width, height, target):
    """Return (width, height) of the largest box of the target's proportions, rounded."""
    rows, columns = target
    scale = min(Fraction(width, columns), Fraction(height, rows))  # one side fits exactly
    return max(1, round(scale * columns)), max(1, round(scale * rows))


def triangle(source, target):
    """Return the weights of bilinear reduction, (target, source); each row sums to one."""
    scale = source / target
    support = max(scale, 1.0)
    rows = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        for j in range(source):
            rows[i, j] = max(0.0, 1.0 - abs(j + 0.5 - centre) / support)
        rows[i] /= rows[i].sum()
    return rows


def slow_preprocess(image, target, channels):
    """Crop, resize and scale without Pillow, in float64."""
    pixels = np.asarray(image, np.float64).reshape(image.height, image.width, -1)
    if channels == 1 and pixels.shape[2] == 3:
        pixels = pixels @ np.array([[0.299], [0.587], [0.114]])
    box_width, box_height = slow_box(image.width, image.height, target)
    left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
    pixels = pixels[top : top + box_height, left : left + box_width]
    down, across = triangle(box_height, target[0]), triangle(box_width, target[1])
    resized = np.einsum("ih,jw,hwc->cij", down, across, pixels)
    return (2 * resized - 255) / 256


def loaded(tmp_path, image, size, channels=3, name="picture.png", **saving):
    image.save(tmp_path / name, **saving)
    return images.load([tmp_path / name], size, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((40, 30), (24, 24)),
        ((30, 40), (24, 24)),
        ((41, 31), (15, 17)),
        ((31, 41), (33, 64)),
        ((17, 17), (17, 17)),
        ((50, 7), (9, 40)),
    ],
    ids=str,
)
def test_preprocessing_equals_its_description(tmp_path, size, target, channels):
    image = picture(*size)
    found = loaded(tmp_path, image, target, channels)
    assert found.shape == (1, channels, *target)
    # Pillow rounds to 8 bits after each of two passes, and after luma: half a step each.
    steps = 128 * np.abs(found[0] - slow_preprocess(image, target, channels))
    assert steps.max() <= (1.0 if channels == 3 else 1.5) + 0.05


@SHORT
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_only_the_largest_centred_box_is_read(size, target):
    width, height = size
    box_width, box_height = slow_box(width, height, target)
    left, top = (width - box_width) // 2, (height - box_height) // 2
    pixels = np.full((height, width), 255, np.uint8)
    pixels[top : top + box_height, left : left + box_width] = 0
    with tempfile.TemporaryDirectory() as folder:
        found = loaded(Path(folder), Image.fromarray(pixels), target, 1)
    assert (found == -255 / 256).all()


def test_same_size_gives_the_pixels_as_they_are(tmp_path):
    image = picture(9, 5)
    found = loaded(tmp_path, image, (5, 9))[0]
    expected = (2.0 * np.asarray(image).transpose(2, 0, 1) - 255) / 256
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_all_values_are_exact_in_every_dtype(tmp_path, dtype):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    found = loaded(tmp_path, ramp, (16, 16), 1)
    assert found.ravel().tolist() == [(2 * p - 255) / 256 for p in range(256)]
    np.testing.assert_array_equal(numerics.to_dtype(found, dtype).astype(np.float64), found)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }[orientation]
    image = picture(5, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = turned(np.asarray(image))
    found = loaded(tmp_path, image, expected.shape[:2], exif=exif)
    np.testing.assert_array_equal(found[0], (2.0 * expected.transpose(2, 0, 1) - 255) / 256)


def test_colour_becomes_grey_by_rec_601_luma(tmp_path):
    red, green, blue = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    image = Image.fromarray(np.array([[red, green, blue]], np.uint8))
    found = loaded(tmp_path, image, (1, 3), 1)
    assert (found.ravel() * 256 + 255).tolist() == [2 * p for p in (76, 150, 29)]


def test_grey_becomes_three_equal_channels(tmp_path):
    found = loaded(tmp_path, picture(6, 4, "L"), (4, 6))
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    np.testing.assert_array_equal(found[:, 0], found[:, 2])


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1)])
def test_transparency_is_dropped_not_blended(tmp_path, mode, channels):
    image = picture(6, 4, mode)
    bands = np.asarray(image)[..., :channels].transpose(2, 0, 1)
    found = loaded(tmp_path, image, (4, 6), channels)
    np.testing.assert_array_equal(found[0], (2.0 * bands - 255) / 256)


def test_several_files_keep_their_order(tmp_path):
    files = [tmp_path / f"{n}.png" for n in range(3)]
    for n, file in enumerate(files):
        picture(8, 8, seed=n).save(file)
    found = images.load(files[::-1], (8, 8), 3)
    for image, file in zip(found, files[::-1], strict=True):
        np.testing.assert_array_equal(image, images.load([file], (8, 8), 3)[0])


def test_photographs_are_six_and_readable():
    found = images.photographs()
    names = ["astronaut", "chelsea", "china", "coffee", "flower", "rocket"]
    assert [file.stem for file in found] == names
    array = images.load(found, (20, 20), 3)
    assert array.shape == (6, 3, 20, 20)
    assert len({image.tobytes() for image in array}) == 6


def test_find_returns_the_images_of_a_folder_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "note.txt", "c.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in images.find(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
    assert images.find(tmp_path / "note.txt") == [tmp_path / "note.txt"]


def test_find_refuses_a_folder_without_images(tmp_path):
    (tmp_path / "note.txt").touch()
    with pytest.raises(InputError, match=r"no image in this folder \(looked for \.png \.jpg"):
        images.find(tmp_path)


def test_find_refuses_a_missing_path(tmp_path):
    with pytest.raises(InputError, match="missing: no such image or folder"):
        images.find(tmp_path / "missing")


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_load_refuses_other_channels(channels):
    message = rf"in_channels={channels}, but images have 1 \(luma\) or 3 \(RGB\) channels"
    with pytest.raises(InputError, match=message):
        images.load(images.photographs(), (8, 8), channels)


def png_claiming(width, height):
    """Return a PNG of a few bytes whose header claims a size."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bad_files(folder):
    """Write one file of each bad kind, and return path -> the message expected for it."""
    picture(40, 40).save(folder / "whole.png")
    half = (folder / "whole.png").read_bytes()[:2000]
    content = {
        "text.jpg": (b"not a picture\n", "not an image that Pillow can read"),
        "empty.png": (b"", "not an image that Pillow can read"),
        "half.png": (half, "a broken image"),
        "bomb.png": (png_claiming(50_000, 50_000), "decompression bomb"),
        "large.png": (png_claiming(10_001, 10_000), "10001x10000 pixels, but at most 100,000,000"),
    }
    for name, (data, _) in content.items():
        (folder / name).write_bytes(data)
    return {folder / name: message for name, (_, message) in content.items()}


def test_load_refuses_every_bad_file_at_once(tmp_path):
    bad = bad_files(tmp_path)
    with pytest.raises(InputError) as caught:
        images.load([tmp_path / "whole.png", *bad, tmp_path / "gone.png"], (8, 8), 3)
    lines = str(caught.value).split("\n  ")
    expected = {**bad, tmp_path / "gone.png": "No such file"}
    assert len(lines) == len(expected)
    for line, (file, message) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"{file}: ")
        assert message in line


@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm"])
def test_load_of_a_truncated_file_gives_pixels_or_an_input_error(tmp_path, suffix):
    image = picture(23, 17)
    whole = tmp_path / f"whole.{suffix}"
    image.save(whole, suffix)
    data = whole.read_bytes()
    refused = 0
    cuts = sorted({0, 1, 2, 4, *range(0, len(data), max(1, len(data) // 60))})
    for length in cuts:
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(data[:length])
        try:
            found = images.load([cut], (4, 4), 3)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{cut}: ")
        else:
            assert np.isfinite(found).all()
    assert refused >= len(cuts) // 2


def test_sixteen_bit_grey_keeps_its_tones(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    found = loaded(tmp_path, Image.fromarray(ramp), (8, 8), 1)
    expected = (2 * (ramp / 65535 * 255) - 255) / 256
    assert np.abs(found[0, 0] - expected).max() <= 2 / 256


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_load_refuses_pixels_of_32_bits(tmp_path, dtype):
    image = Image.fromarray(np.arange(64).reshape(8, 8).astype(dtype))
    with pytest.raises(
        InputError, match=r"picture\.tiff: 32-bit pixels, but 8 or 16 bits are read"
    ):
        loaded(tmp_path, image, (8, 8), 1, name="picture.tiff")
