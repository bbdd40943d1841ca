"""A web server on this machine that serves files of weights, as well or as badly as told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STALL = 3.0  # seconds without a byte, which is longer than tests allow


@dataclass
class Site:
    """What a server serves, and what it was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)  # bytes of an answer; one for each request
    stall_after: int | None = None  # bytes of an answer
    redirect: str = ""  # where all requests are sent
    pause: float = 0.0  # before an answer
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)


def _answer(site: Callable[[], Site]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = site()
            wanted = self.headers.get("Range", "")
            asked.asked.append((self.path, wanted))
            time.sleep(asked.pause)
            if asked.redirect:
                self._head(302, {"Location": asked.redirect, "Content-Length": "0"})
                return
            content = asked.files.get(self.path)
            if content is None:
                self._head(404, {"Content-Length": "0"})
                return
            first = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
            if first >= len(content):
                headers = {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
                self._head(416, headers)
                return
            headers = {"Content-Length": str(len(content) - first)}
            if first:
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self._head(206 if first else 200, headers)
            self._body(asked, content[first:])

        def _head(self, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _body(self, asked: Site, content: bytes) -> None:
            cut = asked.cut_after.pop(0) if asked.cut_after else None
            with contextlib.suppress(OSError):  # the other side may have hung up
                if asked.stall_after is not None:
                    self.wfile.write(content[: asked.stall_after])
                    self.wfile.flush()
                    time.sleep(STALL)
                self.wfile.write(content[:cut])
            self.close_connection = cut is not None or asked.stall_after is not None

    return Handler


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """Serve a site on this machine while the context lasts."""
    found: list[Site] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _answer(lambda: found[0]))
    found.append(Site(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
