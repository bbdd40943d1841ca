"""Training data: read from several kinds of file, and fed to every backend in the same way."""

from __future__ import annotations

import gzip
import http.server
import json
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_parity import InputError, pretrained
from inception_parity.data import datasets, download, images
from inception_parity.data.feed import DataSet, Feed, Split

from ..support.tiny_training import idx, patterns, write_fashion

FILES = tuple(download.FASHION_MNIST)


def of_pixels(pixels: np.ndarray, labels: np.ndarray) -> Split:
    return Split(labels.astype(np.int64), lambda i, mode: Image.fromarray(pixels[i]).convert(mode))


@pytest.fixture
def split() -> Split:
    return of_pixels(*patterns(50, 0))


# Reading


@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_is_read_as_it_was_written(tmp_path, zipped):
    found = datasets.load("fashion-mnist", write_fashion(tmp_path, zipped=zipped))
    assert (len(found.train), len(found.test), found.channels) == (72, 40, 1)
    assert found.classes[9] == "Ankle boot"
    assert "not the published files" in found.note
    pixels, labels = patterns(40, 1)
    assert np.array_equal(found.test.labels, labels)
    assert np.array_equal(np.asarray(found.test.read(7, "L")), pixels[7])


def test_data_know_themselves_by_content(tmp_path):
    one = datasets.load("fashion-mnist", write_fashion(tmp_path / "a"))
    same = datasets.load("fashion-mnist", write_fashion(tmp_path / "b", zipped=True))
    other = datasets.load("fashion-mnist", write_fashion(tmp_path / "c", train=73))
    assert one.digest == same.digest != other.digest


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    file.write_bytes({
        "cut": content[:-1], "longer": content + b"x", "empty": b"", "other": b"\x89PNG" + content,
    }[how])  # fmt: skip


@pytest.mark.parametrize("how", ["cut", "longer", "empty", "other"])
@pytest.mark.parametrize("file", FILES)
def test_damaged_idx_file_is_refused_by_name(tmp_path, file, how):
    damage(write_fashion(tmp_path) / file, how)
    with pytest.raises(InputError, match=file):
        datasets.load("fashion-mnist", tmp_path)


@pytest.mark.parametrize("how", ["cut", "other"])
def test_corrupt_archive_is_refused_by_name(tmp_path, how):
    damage(write_fashion(tmp_path, zipped=True) / f"{FILES[0]}.gz", how)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: can't be read .*get it"):
        datasets.load("fashion-mnist", tmp_path)


def test_flipped_bit_in_an_archive_is_found(tmp_path):
    file = write_fashion(tmp_path, zipped=True) / f"{FILES[2]}.gz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte"):
        datasets.load("fashion-mnist", tmp_path)


def test_labels_that_are_too_few_or_too_large_are_refused(tmp_path):
    file = write_fashion(tmp_path) / FILES[1]
    file.write_bytes(idx(np.zeros(71, np.uint8)))
    with pytest.raises(InputError, match=r"72 images, but labels of shape \(71,\)"):
        datasets.load("fashion-mnist", tmp_path)
    file.write_bytes(idx(np.full(72, 10, np.uint8)))
    with pytest.raises(InputError, match="labels should be 0 to 9"):
        datasets.load("fashion-mnist", tmp_path)


def test_missing_files_and_folders_are_named(tmp_path):
    (write_fashion(tmp_path / "a") / FILES[3]).unlink()
    with pytest.raises(InputError, match=f"there is no {FILES[3]} or {FILES[3]}.gz"):
        datasets.load("fashion-mnist", tmp_path / "a")
    with pytest.raises(InputError, match="no such folder; give the one that holds cifar-10"):
        datasets.load("cifar-10", tmp_path / "b")
    with pytest.raises(InputError, match=r"no data 'fashion_mnist' .did you mean fashion-mnist"):
        datasets.load("fashion_mnist", None)
    with pytest.raises(InputError, match="--data-folder goes with fashion-mnist or cifar-10"):
        datasets.load(str(tmp_path), tmp_path)


def cifar(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count, np.uint8)


def write_cifar(folder: Path, png: bool, count: int = 3) -> None:
    folder.mkdir()
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for seed, name in enumerate(names):
        pixels, own = cifar(seed, count)
        labels["test" if name == "test_batch" else "train"] += own.tolist()
        if png:
            Image.fromarray(pixels.reshape(count, 1024, 3)).save(folder / f"{name}.png")
        else:  # records of a label, then all red, all green, all blue values
            planes = pixels.transpose(0, 3, 1, 2).reshape(count, 3072)
            records = np.concatenate([own[:, None], planes], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
    if png:
        for kind, values in labels.items():
            (folder / f"{kind}_lables.json").write_text(json.dumps(values))


@pytest.mark.parametrize("png", [False, True])
def test_cifar_10_is_read_as_it_was_written(tmp_path, png):
    write_cifar(tmp_path / "cifar", png)
    found = datasets.load("cifar-10", tmp_path / "cifar")
    assert (len(found.train), len(found.test), found.channels) == (15, 3, 3)
    assert found.classes[3] == "cat"
    pixels, labels = cifar(4, 3)  # the fifth file
    assert np.array_equal(found.train.labels[12:], labels)
    assert np.array_equal(np.asarray(found.train.read(13, "RGB")), pixels[1])


def test_damaged_cifar_10_is_refused_by_name(tmp_path):
    write_cifar(tmp_path / "a", png=False)
    damage(tmp_path / "a" / "data_batch_2.bin", "cut")
    with pytest.raises(InputError, match=r"data_batch_2\.bin: 9,218 bytes, but should be records"):
        datasets.load("cifar-10", tmp_path / "a")
    write_cifar(tmp_path / "b", png=True)
    (tmp_path / "b" / "test_lables.json").write_text("{")
    with pytest.raises(InputError, match=r"test_lables\.json: can't be read as a list"):
        datasets.load("cifar-10", tmp_path / "b")
    file = tmp_path / "b" / "data_batch_3.png"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(InputError, match=r"data_batch_3\.png: a broken image"):
        datasets.load("cifar-10", tmp_path / "b")
    with pytest.raises(InputError, match=r"neither test_batch\.bin nor test_batch\.png"):
        datasets.load("cifar-10", tmp_path)


def write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (9, 7), (number, 0, 0)).save(folder / f"{number:02d}.png")


def test_image_folder_with_its_own_split(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, count)
    found = datasets.load(str(tmp_path), None)
    assert (found.classes, len(found.train), len(found.test)) == (("cat", "dog"), 8, 4)
    assert found.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert np.asarray(found.train.read(6, "RGB"))[0, 0].tolist() == [2, 0, 0]
    write_images(tmp_path / "val" / "fox", 1)
    with pytest.raises(InputError, match="classes that aren't trained: fox"):
        datasets.load(str(tmp_path), None)


def test_image_folder_without_split_gives_every_fifth_image_to_the_test(tmp_path):
    write_images(tmp_path / "cat", 11)
    write_images(tmp_path / "dog", 4)
    found = datasets.load(str(tmp_path), None)
    assert (len(found.train), len(found.test)) == (13, 2)
    tested = [int(np.asarray(found.test.read(i, "RGB"))[0, 0, 0]) for i in range(2)]
    assert (tested, found.test.labels.tolist()) == ([4, 9], [0, 0])


def test_image_folder_that_cannot_be_learnt_is_refused(tmp_path):
    write_images(tmp_path / "one" / "cat", 5)
    with pytest.raises(InputError, match="1 sub-folders, but should be one per class"):
        datasets.load(str(tmp_path / "one"), None)
    for name in ("cat", "dog"):
        write_images(tmp_path / "few" / name, 4)
    with pytest.raises(InputError, match="fewer than five images in every class"):
        datasets.load(str(tmp_path / "few"), None)
    (tmp_path / "few" / "fox").mkdir()
    with pytest.raises(InputError, match="fox: no image in this folder"):
        datasets.load(str(tmp_path / "few"), None)


def test_first_images_only(split):
    found = DataSet("d", ("a",), 1, "", split, split).limited(20, None)
    assert (len(found.train), len(found.test)) == (20, 50)
    for wrong in (0, 51):
        with pytest.raises(InputError, match="d has 1 to 50 of them"):
            found.limited(None, wrong)


# Feeding


def joined(batches) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(batches)
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])


def test_epoch_is_every_image_once_in_another_order_each_time(split):
    feed = Feed((14, 14), 1, 16)
    plain = joined(feed.test(split))
    seen = [joined(feed.train(split, epoch)) for epoch in (0, 1)]
    assert [len(x) for x, _ in feed.train(split, 0)] == [16, 16, 16, 2]
    assert [feed.images(split, n) for n in range(feed.steps(split))] == [16, 16, 16, 2]
    rows = sorted(x.tobytes() for x in plain[0])
    assert all(sorted(x.tobytes() for x in images_) == rows for images_, _ in seen)
    assert not np.array_equal(seen[0][0], seen[1][0])
    assert not np.array_equal(seen[0][0], plain[0])
    label_of = {x.tobytes(): y for x, y in zip(*plain, strict=True)}
    assert all(label_of[x.tobytes()] == y for x, y in zip(*seen[0], strict=True))


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_epoch_can_be_entered_at_any_batch(split, augment):
    feed = Feed((14, 14), 1, 16, seed=3, augment=augment)
    whole = list(feed.train(split, 5))
    np.random.seed(1)
    for first in range(5):
        rest = list(feed.train(split, 5, first))
        assert len(rest) == len(whole) - first
        for found, expected in zip(rest, whole[first:], strict=True):
            assert np.array_equal(found[0], expected[0])
            assert np.array_equal(found[1], expected[1])


def test_seed_decides(split):
    def epoch(seed):
        return joined(Feed((14, 14), 1, 16, seed=seed).train(split, 0))[0]

    assert np.array_equal(epoch(1), epoch(1))
    assert not np.array_equal(epoch(1), epoch(2))


def test_crop_flip_moves_up_to_an_eighth_and_mirrors_half():
    pixels = np.random.default_rng(0).integers(1, 256, (400, 16, 16), np.uint8)
    split = of_pixels(pixels, np.arange(400))
    feed = Feed((16, 16), 1, 400, augment="crop-flip", pixels="unit")
    found, numbers = joined(feed.train(split, 0))
    moves = set()
    for image, number in zip(found[:, 0], numbers, strict=True):
        framed = np.pad(pixels[number], 2).astype(np.float32) / np.float32(255)
        fits = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if np.array_equal(
                image[:, ::-1] if mirrored else image, framed[top : top + 16, left : left + 16]
            )
        ]
        assert len(fits) == 1
        moves.add(fits[0])
    assert len(moves) == 50  # 400 draws of 5 x 5 x 2: every one occurs
    other = joined(feed.train(split, 1))[0]
    assert not np.array_equal(np.sort(found, axis=0), np.sort(other, axis=0))


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [("signed", [-255 / 256, 1 / 256, 255 / 256]), ("unit", [0, 128 / 255, 1])],
)
def test_pixels_are_scaled_as_stated(pixels, expected):
    grey = np.array([0, 128, 255], np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    found, _ = joined(Feed((4, 4), 1, 3, pixels=pixels).test(of_pixels(grey, np.zeros(3))))
    assert found.dtype == np.float32
    assert np.array_equal(found[:, 0, 0, 0], np.array(expected, np.float32))


def test_imagenets_pixels_are_those_of_the_weights_that_expect_them():
    file = images.photographs()[0]
    split = Split(np.zeros(1, np.int64), lambda number, mode: images.decoded(file, mode))
    found, _ = joined(Feed((40, 56), 3, 1, pixels="imagenet").test(split))
    raw, _ = joined(Feed((40, 56), 3, 1, pixels="unit").test(split))
    pixels = np.rint(raw[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    expected = pretrained.entry("torchvision/inception_v3").preprocessing.scaled(pixels)
    np.testing.assert_array_equal(found[0], expected)


def test_feed_prepares_images_as_check_does(tmp_path):
    file = images.photographs()[0]
    split = Split(np.zeros(1, np.int64), lambda number, mode: images.decoded(file, mode))
    for channels in (1, 3):
        found, _ = joined(Feed((40, 56), channels, 1).test(split))
        assert np.array_equal(found, images.load([file], (40, 56), channels).astype(np.float32))


# Downloads


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve `tmp_path/web`, and send downloads to `tmp_path/cache`."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, directory=str(folder), **keywords)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/"
        monkeypatch.setattr(download, "FASHION_MNIST_URL", url)
        monkeypatch.setattr(download, "CIFAR_10_URL", f"{url}cifar.tar.gz")
        monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
        monkeypatch.setattr(datasets, "DEBIAN", tmp_path / "nowhere")
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield folder
        running.shutdown()


def sha256(file: Path) -> str:
    import hashlib

    return hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest()


def test_fashion_mnist_is_downloaded_once_and_checked(server, tmp_path, monkeypatch):
    write_fashion(server, zipped=True)
    hashes = {name: sha256(server / f"{name}.gz") for name in FILES}
    monkeypatch.setattr(download, "FASHION_MNIST", hashes)
    said: list[str] = []
    found = datasets.load("fashion-mnist", None, said.append)
    assert (len(found.train), len(said)) == (72, 4)
    assert "not the published files" not in found.note
    datasets.load("fashion-mnist", None, said.append)
    assert len(said) == 4
    assert sorted(p.name for p in (tmp_path / "cache" / "fashion-mnist").iterdir()) == sorted(FILES)


def test_download_says_how_far_it_is(server, tmp_path, monkeypatch):
    (server / "cifar.tar.gz").write_bytes(bytes(2_500_000))
    monkeypatch.setattr(download, "LINE_SECONDS", 0.0)
    said: list[str] = []
    with pytest.raises(InputError, match="hash"):
        datasets.load("cifar-10", None, said.append)
    assert said[0].startswith("downloading http://127.0.0.1")
    megabytes = [float(line.removesuffix(" of 2.5 MB")) for line in said[1:]]
    assert megabytes == sorted(megabytes)
    assert set(megabytes) == {tenths / 10 for tenths in range(26)}


def test_download_that_is_another_file_or_corrupt_is_not_kept(server, tmp_path):
    write_fashion(server, zipped=True)  # well-formed, but not the published files
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte: sha256 .* but should be c59f"):
        datasets.load("fashion-mnist", None)
    (server / f"{FILES[0]}.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match="a corrupt archive"):
        datasets.load("fashion-mnist", None)
    (server / f"{FILES[0]}.gz").unlink()
    with pytest.raises(InputError, match=r"can't be downloaded .*404.*give --data-folder"):
        datasets.load("fashion-mnist", None)
    assert list((tmp_path / "cache" / "fashion-mnist").iterdir()) == []


def test_cifar_10_is_downloaded_unpacked_and_checked(server, tmp_path, monkeypatch):
    import hashlib

    write_cifar(tmp_path / "cifar-10-batches-bin", png=False)
    with tarfile.open(server / "cifar.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    with pytest.raises(InputError, match=r"can't be downloaded .*hash"):
        datasets.load("cifar-10", None)
    md5 = hashlib.md5((server / "cifar.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(download, "CIFAR_10_HASH", f"md5:{md5}")
    assert len(datasets.load("cifar-10", None).train) == 15
    assert [p.name for p in (tmp_path / "cache" / "cifar-10").iterdir()] == ["cifar-10-batches-bin"]
