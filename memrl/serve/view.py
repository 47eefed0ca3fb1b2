"""`memrl view`: a report over HTTP, brought up to date while its runs go on.

Invariants: it serves files of the report's folder and nothing else, and changes nothing but the report. On loopback it
needs no token and takes requests of this machine alone, of no other site; beyond it every request bears the token, in a
header or in the cookie that the address with `?token=` sets.
"""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from memrl.config.keys import without
from memrl.errors import MemrlError
from memrl.look.report import LIVE_SECONDS, MARK, write_report
from memrl.serve.token import is_loopback, listen, read_token
from memrl.storage.lock import LOCK_FILE
from memrl.storage.rundir import METRICS_FILE, SUMMARY_FILE

log = logging.getLogger(__name__)
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, by the end of a file's name."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
COOKIE = "memrl-token"
_TIMEOUT = 30.0
"""Seconds that a connection may be silent."""


def view(
    folders: Sequence[Path],
    out: Path | None,
    *,
    host: str,
    port: int,
    token_env: str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the report of runs until an interrupt ends it.

    Args:
        port: 0 takes a free one.
        ready: called with the address once it is served.

    Raises:
        ConfigError: as `write_report`; no token and a host that others can reach; the address cannot be listened at.
    """
    token = read_token(host, token_env)
    with listen(host, port) as listening:
        page = write_report(folders, out)
        server = _Server(listening, page.parent, token)
        shown = f"[{host}]" if ":" in host else host
        ended = threading.Event()
        following = threading.Thread(target=_follow, args=(folders, out, ended), daemon=True)
        following.start()
        ready(f"http://{shown}:{listening.getsockname()[1]}/")
        try:
            server.serve_forever(poll_interval=0.2)
        finally:
            ended.set()
            server.server_close()
            following.join()


def _follow(folders: Sequence[Path], out: Path | None, ended: threading.Event) -> None:
    """Bring the report up to date where a run has written something."""
    before = _written(folders)
    while not ended.wait(LIVE_SECONDS):
        now = _written(folders)
        if now == before:
            continue
        try:
            write_report(folders, out)
            before = now
        except (MemrlError, OSError) as error:
            log.warning("the report was not brought up to date: %s", error)


def _written(folders: Sequence[Path]) -> list[tuple[str, int, int]]:
    """The state of the files that tell how far runs are."""
    found = []
    for folder in folders:
        for name in (METRICS_FILE, SUMMARY_FILE, LOCK_FILE):
            try:
                stat = (folder / name).stat()
            except OSError:
                continue
            found.append((str(folder / name), stat.st_size, stat.st_mtime_ns))
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listening: socket.socket, folder: Path, token: str | None) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.folder = folder
        self.token = token

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a client has gone, or what else ended a reply; the server goes on."""
        log.debug("a request of %s failed", client_address, exc_info=True)


class _Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD with files of the report."""

    server: _Server
    server_version = "memrl"
    sys_version = ""
    timeout = _TIMEOUT

    def __init__(self, request: Any, address: Any, server: _Server) -> None:
        self._asked: Path | None = None
        super().__init__(request, address, server, directory=str(server.folder))

    def do_GET(self) -> None:
        if self._may_pass():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._may_pass():
            super().do_HEAD()

    def _may_pass(self) -> bool:
        """Return whether a request is answered; else it has been refused, or sent on."""
        try:
            address = urlsplit(self.path)
            path = PurePosixPath(unquote(address.path))
        except ValueError:  # half an IPv6 address
            address, path = urlsplit(""), PurePosixPath("\0")
        if self.server.token is not None:
            given = parse_qs(address.query).get("token", [])
            if given and self._is_token(given[0]):
                self.send_response(HTTPStatus.SEE_OTHER)
                self.send_header("Location", "./")
                self.send_header(
                    "Set-Cookie", f"{COOKIE}={quote(given[0], safe='')}; HttpOnly; SameSite=Strict; Path=/"
                )
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False
            scheme, _, borne = self.headers.get("Authorization", "").partition(" ")
            if not (scheme.lower() == "bearer" and self._is_token(borne.strip())) and not self._is_token(
                self._cookie()
            ):
                self._refuse(HTTPStatus.UNAUTHORIZED, "a token is needed: open the address with ?token=TOKEN.")
                return False
        elif not self._names_this_machine():
            self._refuse(HTTPStatus.FORBIDDEN, "without a token, host must be this machine (localhost).")
            return False
        elif self.headers.get("Sec-Fetch-Site", "none").lower() not in ("same-origin", "none"):
            self._refuse(HTTPStatus.FORBIDDEN, "without a token, no page of another site may call.")
            return False
        known = path.suffix in KINDS or address.path == "/"
        if not known or not str(path).isprintable() or path.name.startswith(".") or path.name == MARK:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing of that name is in the report.")
            return False
        return True

    def _is_token(self, given: str) -> bool:
        assert self.server.token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.server.token.encode())

    def _cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return unquote(found.value) if found else ""

    def _names_this_machine(self) -> bool:
        """Return whether the header Host is this machine: a page's own name may lead here (DNS rebinding)."""
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            return False
        return name is not None and is_loopback(name)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        body = f"{why}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", KINDS[".txt"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def list_directory(self, path: Any) -> None:
        """Refuse: the page says what there is."""
        self._refuse(HTTPStatus.NOT_FOUND, "there is no page here; the report was written without one (index.html).")

    def guess_type(self, path: Any) -> str:
        """Return the type of a file, by our own table: the machine's may be another."""
        return KINDS.get(PurePosixPath(str(path)).suffix, "application/octet-stream")

    def end_headers(self) -> None:
        """End the head of a reply, with what keeps a page to itself."""
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        """Log for `--debug` alone, and never a token."""
        token = self.server.token
        log.debug("%s", format % values if token is None else without(format % values, token))
