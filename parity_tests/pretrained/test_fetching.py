"""Downloads of weights, from a server on this machine that misbehaves in every way."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inception_parity import InputError, pretrained
from inception_parity.pretrained import fetching, index, transfer

from ..support.command import call, environment_of_ours, require_clear_error
from ..support.weight_server import Site, serving

CONTENT = bytes(range(256)) * 4096  # 1 MiB
CHUNK = transfer.CHUNK  # what has arrived of a chunk is lost
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "torchvision/inception_v3"
INDEX = index.entries()
UNSTATED = "timm/inception_v3.tf_in1k"  # neither digest nor size are published


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Return a server that has the file of NAME, with an index in which it has that content."""
    monkeypatch.setenv("INCEPTION_PARITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INCEPTION_PARITY_OFFLINE", raising=False)
    monkeypatch.delenv("INCEPTION_PARITY_MIRROR", raising=False)
    monkeypatch.setattr(transfer, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)
    with serving() as found:
        found.files["/weights.pth"] = CONTENT
        use(monkeypatch, found)
        yield found


def use(monkeypatch: pytest.MonkeyPatch, site: Site, **changed: object) -> None:
    """Let NAME's entry say that its file is the server's."""
    known = dict(INDEX)
    stated = {"url": f"{site.url}/weights.pth", "digest": f"sha256:{SHA256[:8]}", "size": "1.0 MiB"}
    known[NAME] = replace(known[NAME], **{**stated, **changed})  # type: ignore[arg-type]
    monkeypatch.setattr(index, "entries", lambda: known)


def folder() -> Path:
    return Path(os.environ["INCEPTION_PARITY_CACHE"]) / "weights" / NAME


def left() -> list[str]:
    """Return the files that a download has left, other than the lock."""
    return sorted(p.name for p in folder().glob("*") if p.name != ".lock")


def refused(*texts: str) -> None:
    """Assert that the file can't be had, that the message has all `texts`, and what to do."""
    with pytest.raises(InputError) as found:
        pretrained.local_file(NAME)
    for text in (*texts, "by hand", str(folder() / "weights.pth")):
        assert text in str(found.value)
    assert not (folder() / "weights.pth").exists()


def test_a_file_is_downloaded_once_and_verified_whenever_it_is_used(site: Site) -> None:
    file = pretrained.local_file(NAME)
    assert file == folder() / "weights.pth"
    assert file.read_bytes() == CONTENT
    assert pretrained.local_file(NAME) == file
    assert site.asked == [("/weights.pth", "")]
    assert left() == ["weights.pth"]
    file.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(InputError, match=f"weights.pth: sha256 .*, but {SHA256[:8]}… is published"):
        pretrained.local_file(NAME)


def test_a_path_is_no_name(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pretrained.local_file("torchvision/mine.pth") == Path("torchvision/mine.pth")
    assert pretrained.local_file("weights.safetensors") == Path("weights.safetensors")
    monkeypatch.chdir(tmp_path)
    own = Path(NAME)
    own.parent.mkdir()
    own.touch()
    assert pretrained.local_file(NAME) == own  # a file that exists comes first
    assert site.asked == []


def test_a_mistyped_name_gets_the_nearest(site: Site) -> None:
    with pytest.raises(InputError, match=r"'torchvision/inception_v4' \(did you mean torchvision"):
        pretrained.local_file("torchvision/inception_v4")


def test_a_wrong_digest_is_refused_and_nothing_is_kept(site: Site) -> None:
    site.files["/weights.pth"] = CONTENT[::-1]
    refused("not the published file: sha256 ", f"but {SHA256[:8]}… is published; nothing was kept")
    assert left() == []


def test_a_wrong_size_is_refused(site: Site) -> None:
    site.files["/weights.pth"] = b"<html>log in</html>"
    refused("19 bytes, but 1.0 MiB are published")
    assert left() == []


def test_a_download_that_is_cut_off_goes_on(site: Site) -> None:
    site.cut_after = [300_000, 500_000]
    assert pretrained.local_file(NAME).read_bytes() == CONTENT
    assert [asked for _, asked in site.asked] == ["", f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]


def test_a_download_that_is_cut_off_again_and_again_goes_on_next_time(site: Site) -> None:
    site.cut_after = [300_000, 0, 0, 0]
    refused("0.3 MB are kept, to go on from there")
    assert left() == [".weights.pth.part"]
    site.asked.clear()
    assert pretrained.local_file(NAME).read_bytes() == CONTENT
    assert site.asked == [("/weights.pth", f"bytes={CHUNK}-")]
    assert left() == ["weights.pth"]


def test_a_part_that_is_whole_is_taken(site: Site) -> None:
    folder().mkdir(parents=True)
    (folder() / ".weights.pth.part").write_bytes(CONTENT)
    assert pretrained.local_file(NAME).read_bytes() == CONTENT
    assert site.asked == [("/weights.pth", f"bytes={len(CONTENT)}-")]


def test_a_part_of_another_file_is_thrown_away(site: Site) -> None:
    folder().mkdir(parents=True)
    (folder() / ".weights.pth.part").write_bytes(CONTENT + b"more")
    assert pretrained.local_file(NAME).read_bytes() == CONTENT


def test_a_server_that_stalls_is_given_up(site: Site) -> None:
    site.stall_after = 0
    refused("the server sent nothing for 0.5 s")
    assert not (folder() / "weights.pth").exists()


def test_a_full_disk_is_said_and_what_was_written_is_removed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    refused("1.0 MB, but the disk of", "has 0.0 MB")
    assert left() == []


def test_a_disk_that_fills_up_is_said_and_what_was_written_is_removed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, content: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def full(path: Path, mode: str = "r", *more: object) -> object:
        return Full(path, mode) if path.name.endswith(".part") else opened(path, mode, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    refused("no room on the disk of")
    assert left() == []


def test_a_redirect_to_another_host_is_refused(site: Site) -> None:
    with serving() as other:
        other.files["/weights.pth"] = CONTENT
        site.redirect = f"{other.url}/weights.pth"
        refused("redirected to http://127.0.0.1", "log in")
        assert other.asked == []


def test_a_redirect_to_a_host_that_the_index_names_is_followed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as other:
        other.files["/weights.pth"] = CONTENT
        site.redirect = f"{other.url}/weights.pth"
        use(monkeypatch, site, hosts=("127.0.0.1",))
        assert pretrained.local_file(NAME).read_bytes() == CONTENT


def test_a_redirect_that_gives_up_encryption_is_refused() -> None:
    found = transfer.Transfer(Path("part"), ["amazonaws.com"], lambda file: None, print)
    found._require_allowed("https://a.org/x", "https://s3.amazonaws.com/x")
    for place in ("http://a.org/x", "https://evilamazonaws.com/x", "ftp://a.org/x"):
        with pytest.raises(transfer.TransferError, match="redirected to"):
            found._require_allowed("https://a.org/x", place)


def test_redirects_in_a_circle_end(site: Site) -> None:
    site.redirect = f"{site.url}/weights.pth"
    refused("redirected more than 5 times")


def test_a_missing_file_is_said(site: Site) -> None:
    site.files.clear()
    refused("the server answers: 404")


def test_without_a_network_the_message_says_what_to_fetch_by_hand(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as gone:
        pass
    use(monkeypatch, gone)
    refused("no connection", f"by hand, fetch {gone.url}/weights.pth")
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / "weights.pth").write_bytes(CONTENT)
    assert pretrained.local_file(NAME).read_bytes() == CONTENT


def test_offline_nothing_is_asked_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTION_PARITY_OFFLINE", "1")
    refused("not in the cache, and INCEPTION_PARITY_OFFLINE is set")
    assert site.asked == []
    assert not folder().exists()


def test_a_mirror_is_asked_instead_and_is_laid_out_like_the_cache(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as mirror:
        mirror.files[f"/all/{NAME}/weights.pth"] = CONTENT
        monkeypatch.setenv("INCEPTION_PARITY_MIRROR", f"{mirror.url}/all/")
        file = pretrained.local_file(NAME)
    assert file.read_bytes() == CONTENT
    assert site.asked == []
    assert file.relative_to(folder().parents[1]).as_posix() == f"{NAME}/weights.pth"


def archive(name: str = "weights.params") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr(name, CONTENT)
    return held.getvalue()


def test_an_archive_is_unpacked_and_its_member_verified(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha1 = hashlib.sha1(CONTENT).hexdigest()
    use(monkeypatch, site, member="weights.params", digest=f"sha1:{sha1}")
    site.files["/weights.pth"] = archive()
    assert pretrained.local_file(NAME).read_bytes() == CONTENT
    assert left() == ["weights.params"]


@pytest.mark.parametrize("content", [CONTENT, archive("other.params")], ids=["no zip", "no member"])
def test_a_wrong_archive_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    use(monkeypatch, site, member="weights.params")
    site.files["/weights.pth"] = content
    with pytest.raises(InputError, match=r"not an archive with weights\.params"):
        pretrained.local_file(NAME)
    assert left() == []


def test_without_a_published_digest_the_first_one_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, site, digest="")
    file = pretrained.local_file(NAME)
    assert (folder() / "weights.pth.sha256").read_text() == SHA256
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match="is its digest when it first arrived; remove it"):
        pretrained.local_file(NAME)


def test_a_cache_that_cant_be_written_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"can't be written .*INCEPTION_PARITY_CACHE"):
        pretrained.local_file(NAME)


def test_two_processes_at_once_download_once(site: Site, tmp_path: Path) -> None:
    site.files[f"/{UNSTATED}/model.safetensors"] = CONTENT
    site.pause = 1.0
    environment = environment_of_ours(
        INCEPTION_PARITY_CACHE=str(tmp_path / "shared"), INCEPTION_PARITY_MIRROR=site.url
    )
    code = f"from inception_parity import pretrained; print(pretrained.local_file({UNSTATED!r}))"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=60) for process in both]
    expected = tmp_path / "shared" / "weights" / UNSTATED / "model.safetensors"
    assert [out.strip() for out, _ in said] == [str(expected)] * 2, said
    assert expected.read_bytes() == CONTENT
    assert len(site.asked) == 1


def test_a_process_waits_for_another_ones_download(site: Site) -> None:
    """Threads have locks of their own, like processes, since each opens the file itself."""
    site.pause = 0.2
    lines: list[str] = []
    other = threading.Thread(target=pretrained.local_file, args=[NAME, lines.append])
    other.start()
    pretrained.local_file(NAME, lines.append)
    other.join()
    assert sum(line.startswith("downloading") for line in lines) == 1
    assert "waiting for another process that downloads inception_v3" in lines
    assert len(site.asked) == 1


def test_a_command_ends_with_exit_code_2(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["/weights.pth"] = CONTENT[::-1]
    done = call(capsys, "convert", NAME, tmp_path / "v3.safetensors")
    require_clear_error(done, "not the published file", "by hand")
    assert not (tmp_path / "v3.safetensors").exists()


def test_cached_files_are_those_of_the_index() -> None:
    found = pretrained.entry("gluon/inceptionv3")
    assert fetching.cached(found).parts[-4:] == (
        "weights", "gluon", "inceptionv3", "inceptionv3-ed47ec45.params",
    )  # fmt: skip
