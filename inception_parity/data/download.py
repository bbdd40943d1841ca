"""Known data sets: downloaded once, and accepted only with the right hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import platformdirs

from ..errors import InputError, needs

# sha256 of the unzipped files, as their authors published them
FASHION_MNIST = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
CIFAR_10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_10_HASH = "md5:c32a1d4ab5d03f1284b67883e8d87530"  # which is what its authors publish

CACHE, OFFLINE = "INCEPTION_PARITY_CACHE", "INCEPTION_PARITY_OFFLINE"  # environment variables

LINE_SECONDS = 5.0  # between lines that say how far a download is

Say = Callable[[str], None]


def cache_root() -> Path:
    """Return the folder for all downloads: that of INCEPTION_PARITY_CACHE, or the user's own."""
    own = os.environ.get(CACHE)
    return Path(own).absolute() if own else Path(platformdirs.user_cache_dir("inception-parity"))


def is_offline() -> bool:
    """Return whether nothing may be downloaded."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def cache() -> Path:
    """Return the folder for data sets."""
    return cache_root() / "data"


def fashion_mnist(say: Say) -> Path:
    """Return the folder with the four files, downloading those that aren't there yet.

    Raises:
        InputError: they can't be downloaded, or aren't the published ones.
    """
    folder = cache() / "fashion-mnist"
    for name, sha256 in FASHION_MNIST.items():
        if not (folder / name).is_file():
            zipped = _fetch(f"{FASHION_MNIST_URL}{name}.gz", None, folder, say)
            _unzip(zipped, folder / name, sha256)
    return folder


def cifar_10(say: Say) -> Path:
    """Return the folder with CIFAR-10's binary version, downloading it if it isn't there yet.

    Raises:
        InputError: it can't be downloaded, or isn't the published one.
    """
    folder = cache() / "cifar-10"
    if not (folder / "cifar-10-batches-bin" / "test_batch.bin").is_file():
        archive = _fetch(CIFAR_10_URL, CIFAR_10_HASH, folder, say)
        unpacked = folder / "unpacked"
        try:
            shutil.rmtree(unpacked, ignore_errors=True)
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
            (unpacked / "cifar-10-batches-bin").replace(folder / "cifar-10-batches-bin")
        except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
            raise InputError(f"{archive}: can't be unpacked ({error})") from error
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
            archive.unlink(missing_ok=True)
    return folder


def _fetch(url: str, known_hash: str | None, folder: Path, say: Say) -> Path:
    if is_offline():
        raise InputError(f"{url}: not in the cache, and {OFFLINE} is set; give --data-folder")
    with needs("downloads need pooch", "data", instead=", or give --data-folder"):
        import pooch
    say(f"downloading {url}")
    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(progressbar=_Lines(say))
    try:
        return Path(pooch.retrieve(url, known_hash, path=folder, downloader=downloader))
    except Exception as error:  # of requests, of urllib3, of the system; a ValueError for a hash
        raise InputError(
            f"{url}: can't be downloaded ({error}); get the files yourself, and give --data-folder"
        ) from error


class _Lines:
    """Pooch's progress bar: a line every few seconds."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.total = self.done = 0  # bytes; pooch sets the total, 0 if the server doesn't say
        self.told = time.monotonic()

    def update(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.told >= LINE_SECONDS:
            self.told = time.monotonic()
            of = f" of {self.total / 1e6:.1f}" if self.total else ""
            self.say(f"{self.done / 1e6:.1f}{of} MB")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def _unzip(zipped: Path, target: Path, sha256: str) -> None:
    """Unzip a file, which appears only if it has the right hash."""
    from ..files import write_whole

    try:
        content = zlib.decompress(zipped.read_bytes(), wbits=31)  # 31: with gzip's header
    except (OSError, zlib.error) as error:
        raise InputError(f"{zipped}: a corrupt archive ({error}); try again later") from error
    finally:
        zipped.unlink(missing_ok=True)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(f"{target.name}: sha256 {found}, but should be {sha256}; not kept")
    write_whole(target, content)
