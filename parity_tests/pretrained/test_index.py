"""The index of weights, compared with what the libraries' own sources state."""

from __future__ import annotations

import csv
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inception_parity import libraries, pretrained
from inception_parity.data.feed import Feed, Split
from inception_parity.networks import catalogue
from inception_parity.pretrained.index import UNITS

ENTRIES = pretrained.entries()
LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64}

every_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)


def source(path: str) -> str:
    """Return the text of a file of an installed package, without importing it."""
    package, _, file = path.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return (Path(spec.submodule_search_locations[0]) / file).read_text()


def test_the_names_that_users_come_for_are_there() -> None:
    assert {
        "torchvision/inception_v3", "torchvision/googlenet", "timm/inception_v3.tv_in1k",
        "timm/inception_v3.tf_in1k", "timm/inception_v3.tf_adv_in1k",
        "timm/inception_v3.gluon_in1k", "timm/inception_v4.tf_in1k",
        "timm/inception_resnet_v2.tf_in1k", "keras/inception_v3", "keras/inception_v3_notop",
        "gluon/inceptionv3", "fid/inception-2015-12-05", "facenet/vggface2",
    } <= set(ENTRIES)  # fmt: skip


@every_entry
def test_entry_is_of_a_network_that_its_library_has(entry: pretrained.Entry) -> None:
    version = libraries.library(entry.library).networks[entry.network]
    catalogue.network(entry.network).resolve({**version.fixed, **entry.options})
    assert set(version.unstated) <= set(entry.options)


@every_entry
def test_training_scales_pixels_as_the_weights_expect_to_half_a_level(
    entry: pretrained.Entry,
) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    one = Split(np.zeros(1, np.int64), lambda _, mode: Image.fromarray(ramp))
    found, _ = next(Feed((16, 16), 3, 1, pixels=entry.preprocessing.pixels).test(one))
    expected = entry.preprocessing.scaled(ramp)
    level = float(np.abs(np.diff(np.unique(expected[0])))[0])
    assert np.abs(found[0] - expected).max() <= 0.5 * level + 1e-6


@every_entry
def test_entry_is_complete(entry: pretrained.Entry) -> None:
    assert entry.url.startswith("https://")
    assert entry.published
    assert entry.licence
    algorithm, _, digits = entry.digest.partition(":")
    assert not entry.digest or 8 <= len(digits) <= LENGTHS[algorithm]
    assert not entry.digest or re.fullmatch("[0-9a-f]+", digits)
    assert not entry.size or entry.size.split()[1] in UNITS
    assert set(entry.accuracy) <= {"top1", "top5"}
    assert all(50 < value < 100 for value in entry.accuracy.values())
    assert entry.preprocessing.source
    assert entry.classes in ("", "imagenet")


@every_entry
def test_digest_in_a_file_name_is_the_stated_one(entry: pretrained.Entry) -> None:
    """Digests in names are the first eight digits of what is published in full elsewhere."""
    named = re.search(r"-([0-9a-f]{8})\.(pth|zip|pth\.zip)$", entry.url)
    if named:
        assert entry.digest.partition(":")[2].startswith(named[1])


@pytest.mark.parametrize(
    ("size", "count", "agrees"),
    [
        ("95.5 MB", 95_549_999, True),
        ("95.5 MB", 95_450_001, True),
        ("95.5 MB", 95_600_000, False),
        ("92 MiB", 96_112_376, True),
        ("92 MiB", 90_000_000, False),
        ("", 1, True),
    ],
)
def test_published_sizes_are_rounded(size: str, count: int, agrees: bool) -> None:
    assert (
        pretrained.Entry(*"123456", pretrained.Preprocessing(), size=size).has_size(count) is agrees
    )


@pytest.mark.parametrize("name", [n for n in ENTRIES if n.startswith("torchvision/")])
def test_torchvision_states_the_same(name: str) -> None:
    text = source(f"torchvision/models/{name.partition('/')[2].removesuffix('_v3')}.py")
    entry = ENTRIES[name]
    assert f'url="{entry.url}"' in text
    assert f'"_file_size": {entry.size.split()[0]},' in text
    assert re.search(rf'"acc@1": {entry.accuracy["top1"]:.3f}', text)
    assert re.search(rf'"acc@5": {entry.accuracy["top5"]:.3f}', text)
    assert '_ovewrite_named_param(kwargs, "transform_input", True)' in text
    steps = entry.preprocessing
    assert steps.crop is not None
    resize = "" if steps.resize == 256 else f", resize_size={steps.resize}"  # torchvision's default
    assert f"crop_size={steps.crop[0]}{resize})" in text
    presets = source("torchvision/transforms/_presets.py")
    assert f"mean: tuple[float, ...] = {steps.mean}" in presets
    assert f"std: tuple[float, ...] = {steps.std}" in presets


@pytest.mark.parametrize("name", [n for n in ENTRIES if n.startswith("keras/")])
def test_keras_states_the_same(name: str) -> None:
    entry = ENTRIES[name]
    text = source(f"keras/src/applications/{entry.network}.py")
    assert f'file_hash="{entry.digest.removeprefix("md5:")}"' in text
    joined = re.sub(r'"\s+(?:\+ )?"', "", text)
    assert (entry.url in joined) or (
        entry.file in joined and entry.url[: -len(entry.file)] in joined
    )


@pytest.mark.parametrize("name", [n for n in ENTRIES if n.startswith("timm/")])
def test_timm_states_the_same(name: str) -> None:
    entry = ENTRIES[name]
    model = name.partition("/")[2]
    text = source(f"timm/models/{entry.network}.py")
    assert f"'{model}'" in text
    steps = entry.preprocessing
    assert f"'interpolation': '{steps.interpolation}'" in text
    (share,) = re.findall(r"'crop_pct': ([\d.]+)", text)[:1]
    assert steps.crop is not None
    assert steps.resize == int(steps.crop[0] / float(share))
    own = text.partition(f"'{model}'")[2].partition("})" if "gluon" in model else "),")[0]
    assert ("IMAGENET_DEFAULT_MEAN" in own) == (steps.mean != (0.5, 0.5, 0.5))
    assert entry.url == f"https://huggingface.co/timm/{model}/resolve/main/model.safetensors"


def test_gluon_states_the_same() -> None:
    entry = ENTRIES["gluon/inceptionv3"]
    text = source("mxnet/gluon/model_zoo/model_store.py")
    sha1 = entry.digest.removeprefix("sha1:")
    assert f"('{sha1}', 'inceptionv3')" in text
    (place,) = re.findall(r"apache_repo_url = '(.*)'", text)
    assert entry.url == f"{place}gluon/models/inceptionv3-{sha1[:8]}.zip"
    described = source("mxnet/gluon/model_zoo/vision/__init__.py")
    assert f"mean = {list(entry.preprocessing.mean)}" in described
    assert f"std = {list(entry.preprocessing.std)}" in described


@pytest.mark.parametrize("name", [n for n in ENTRIES if n.startswith("pytorchcv/")])
def test_pytorchcv_states_the_same(name: str) -> None:
    entry = ENTRIES[name]
    model = name.partition("/")[2]
    lines = csv.DictReader(source("pytorchcv/models/common/model_metainfos.csv").splitlines())
    (row,) = (row for row in lines if row["model_name"] == model)
    sha1, error = row["checksum"], row["error_value"]
    assert entry.digest == f"sha1:{sha1}"
    assert entry.member == f"{model}-{error}-{sha1[:8]}.pth"
    assert entry.url.endswith(f"/releases/download/{row['repo_release_tag']}/{entry.member}.zip")
    assert entry.accuracy["top5"] == pytest.approx(100 - int(error) / 100)
    size = int(row["img_size"])
    assert entry.preprocessing.crop == (size, size)
    assert entry.preprocessing.resize == -int(-size / float(row["img_scale"]) // 1)


def test_pytorch_fid_states_the_same() -> None:
    assert f"'{ENTRIES['fid/inception-2015-12-05'].url}'" in source("pytorch_fid/inception.py")


@pytest.mark.parametrize("name", ["facenet/vggface2", "facenet/casia-webface"])
def test_facenet_pytorch_states_the_same(name: str) -> None:
    entry = ENTRIES[name]
    assert f"'{entry.url}'" in source("facenet_pytorch/models/inception_resnet_v1.py")
    assert entry.preprocessing.mean == (127.5,) * 3
    assert "(image_tensor - 127.5) / 128.0" in source("facenet_pytorch/models/mtcnn.py")
