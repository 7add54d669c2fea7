"""The console's files: built from ``console/`` into the package, served by the same process.

Nothing is read by a path that a request names: the files are those that were found, by name.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from penstock.kernel.randomness import token_bytes
from penstock.server.exchange import path_of

FOLDER = Path(__file__).parent / "console"
INDEX = "index.html"
NONCE = "__CSP_NONCE__"
HASHED = "assets/"
"""Files below it have a hash of their content in their names: they never change."""
GZIP_MIN_BYTES = 1024
COMPRESSED = frozenset({".js", ".css", ".html", ".svg", ".json", ".map", ".txt", ".webmanifest"})
PACKED = frozenset({".ico", ".png", ".jpg", ".webp", ".woff2", ".gz"})
NOT_BUILT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<title>Penstock</title></head><body><h1>Penstock</h1><p>{}</p><p>The API is up at <code>/v1</code>.</p></body></html>"""


@dataclass(frozen=True, slots=True)
class _File:
    """One file, as it is sent."""

    data: bytes
    packed: bytes | None
    etag: str
    media: str


class ConsoleFiles:
    """What answers where no route does. A page's address belongs to the console, which shows it or says that there is
    none; below ``/v1`` there is nothing."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.state = "The console is not built."
        """What is said while there are no files."""
        self._files: dict[str, _File] = {}
        self._stamp = 0

    @property
    def built(self) -> bool:
        """Whether there is a console."""
        return (self.folder / INDEX).is_file()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = path_of(scope).lstrip("/")
        if request.method not in ("GET", "HEAD") or path == "v1" or path.startswith("v1/"):
            raise HTTPException(404)
        await self._answer(request, path)(scope, receive, send)

    def _answer(self, request: Request, path: str) -> Response:
        self._look()
        found = self._files.get(path)
        if found is not None and path != INDEX:
            return _sent(request, found, forever=path.startswith(HASHED))
        if path.startswith(HASHED) or (Path(path).suffix in COMPRESSED | PACKED and path != INDEX):
            raise HTTPException(404)
        index = self._files.get(INDEX)
        if index is None:
            page = NOT_BUILT.format(self.state)
            return Response(page, 503, media_type="text/html", headers={"Retry-After": "3", **_guards("")})
        nonce = token_bytes(16).hex()
        page = index.data.decode().replace(NONCE, nonce)
        return Response(page, media_type="text/html", headers={"Cache-Control": "no-store", **_guards(nonce)})

    def _look(self) -> None:
        """Read the files when they are new."""
        index = self.folder / INDEX
        stamp = index.stat().st_mtime_ns if index.is_file() else 0
        if stamp == self._stamp:
            return
        self._stamp = stamp
        paths = [path for path in self.folder.rglob("*") if path.is_file()] if stamp else []
        self._files = {path.relative_to(self.folder).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> _File:
    data = path.read_bytes()
    packed = None
    if path.suffix in COMPRESSED and len(data) >= GZIP_MIN_BYTES:
        packed = gzip.compress(data, 9, mtime=0)
    media = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".js":
        media = "text/javascript"
    return _File(data, packed, f'"{hashlib.sha256(data).hexdigest()[:32]}"', media)


def _sent(request: Request, file: _File, *, forever: bool) -> Response:
    headers = {
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
        "Cache-Control": "public, max-age=31536000, immutable" if forever else "no-cache",
        **_guards(""),
    }
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media)
    return Response(file.data, headers=headers, media_type=file.media)


def _guards(nonce: str) -> dict[str, str]:
    """What a browser must not do with a file, whatever is in it."""
    styles = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    policy = (
        f"default-src 'none'; script-src 'self'; style-src {styles}; connect-src 'self'; img-src 'self'; "
        "font-src 'self'; manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "X-Frame-Options": "DENY",
    }
