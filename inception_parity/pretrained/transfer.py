"""One file from one URL: resumed, bounded in time, and never led to another host unawares."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

Say = Callable[[str], None]

CONNECT_SECONDS = 15.0  # to reach a server
STALL_SECONDS = 30.0  # without a byte
PAUSE_SECONDS = 1.0  # before another attempt, times the number of failures
LINE_SECONDS = 5.0  # between lines that say how far a download is
ATTEMPTS = 3  # that bring nothing new, before a download is given up
REDIRECTS = 5
CHUNK = 1 << 18
REDIRECTED = (301, 302, 303, 307, 308)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TransferError(Exception):
    """A download failed; the text says why, for a message that names the URL."""


@dataclass
class Transfer:
    """A downloader for pooch, which keeps what has arrived if a download breaks off.

    Args:
        part: where it is kept.
        hosts: where a redirect may lead, besides the URL's own host: these, and what is below them.
        check: called with the file once all of it has arrived; raises TransferError if it is wrong.
        say: told in lines how far it is.
    """

    part: Path
    hosts: Sequence[str]
    check: Callable[[Path], None]
    say: Say

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Download `url` to `output_file`.

        Raises:
            TransferError: it can't be had, or isn't what it should be.
        """
        failures = 0
        while True:
            before = self._there()
            try:
                self._attempt(url)
                break
            except _BrokenOffError as error:
                failures = 0 if self._there() > before else failures + 1
                if failures >= ATTEMPTS:
                    kept = self._there()
                    more = f"; {kept / 1e6:.1f} MB are kept, to go on from there" if kept else ""
                    raise TransferError(f"{error}{more}") from error
                time.sleep(failures * PAUSE_SECONDS)
        try:
            self.check(self.part)
        except TransferError:
            self.part.unlink()
            raise
        self.part.replace(output_file)

    def _there(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        """Fetch what is missing, all of it if the server can't continue."""
        import requests

        there = self._there()
        try:
            with requests.Session() as session, self._response(session, url, there) as response:
                if response.status_code == 416:  # more is there than the server has, or just all
                    total = response.headers.get("Content-Range", "").rpartition("/")[2]
                    if total != str(there):
                        self.part.unlink()
                        raise _BrokenOffError("the file has changed on the server")
                    return
                response.raise_for_status()
                if response.status_code != 206:
                    there = 0
                self._write(response, there)
        except requests.HTTPError as error:
            raise TransferError(f"the server answers: {error}") from error
        except requests.ConnectTimeout as error:
            raise TransferError(f"no connection in {CONNECT_SECONDS:g} s") from error
        except requests.Timeout as error:
            raise _BrokenOffError(f"the server sent nothing for {STALL_SECONDS:g} s") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise _BrokenOffError("the connection broke off") from error
        except requests.ConnectionError as error:
            if "Read timed out" in str(error):
                raise _BrokenOffError(f"the server sent nothing for {STALL_SECONDS:g} s") from error
            raise _BrokenOffError(f"no connection ({_reason(error)})") from error
        except requests.RequestException as error:
            raise TransferError(str(error)) from error

    def _response(self, session: Any, url: str, there: int) -> Any:
        """Return the answer to a request, after redirects that are allowed."""
        headers = {"Accept-Encoding": "identity"}
        if there:
            headers["Range"] = f"bytes={there}-"
        place = url
        for _ in range(REDIRECTS + 1):
            response = session.get(
                place, headers=headers, stream=True, allow_redirects=False,
                timeout=(CONNECT_SECONDS, STALL_SECONDS),
            )  # fmt: skip
            if response.status_code not in REDIRECTED:
                return response
            response.close()
            place = urljoin(place, response.headers.get("Location", ""))
            self._require_allowed(url, place)
        raise TransferError(f"redirected more than {REDIRECTS} times")

    def _require_allowed(self, url: str, place: str) -> None:
        """Raise TransferError if a redirect leads to a strange host, or gives up encryption."""
        own, other = urlsplit(url), urlsplit(place)
        name = other.hostname or ""
        hosts = (own.hostname or "", *self.hosts)
        same = (other.hostname, other.port) == (own.hostname, own.port)
        below = any(name == host or name.endswith(f".{host}") for host in self.hosts)
        if not (same or below) or other.scheme not in ("https", own.scheme):
            raise TransferError(
                f"redirected to {other.scheme}://{other.netloc}, and not to {' or '.join(hosts)}; "
                "a network that asks to log in does so"
            )

    def _write(self, response: Any, there: int) -> None:
        """Append an answer's content to what is there."""
        left = int(response.headers.get("Content-Length", 0))
        free = shutil.disk_usage(self.part.parent).free
        if left > free:
            raise TransferError(
                f"{left / 1e6:.1f} MB, but the disk of {self.part.parent} has {free / 1e6:.1f} MB"
            )
        told = time.monotonic()
        done, total = there, there + left
        try:
            with self.part.open("ab" if there else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if time.monotonic() - told >= LINE_SECONDS:
                        told = time.monotonic()
                        of = f" of {total / 1e6:.1f}" if left else ""
                        self.say(f"{done / 1e6:.1f}{of} MB")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self.part.unlink(missing_ok=True)
            raise TransferError(f"no room on the disk of {self.part.parent}") from error
        if left and done < total:
            raise _BrokenOffError(f"cut off after {done / 1e6:.1f} of {total / 1e6:.1f} MB")


class _BrokenOffError(TransferError):
    """Another attempt may go on."""


def _reason(error: BaseException) -> str:
    """Return the last words of an error that libraries have wrapped several times."""
    text = str(error)
    return text.rpartition(": ")[2].strip("'()\" ") or type(error).__name__
