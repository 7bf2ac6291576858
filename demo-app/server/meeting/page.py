"""The built page of the meeting app: its files, with the headers that a browser is to have with them.

`demo-app/web` builds into `static/`: `index.html`, what is named by its content under `assets/`, and beside
each text file the same one compressed. Which files there are is read once, so no path of a request ever
reaches the file system.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

BUILT = Path(__file__).parent / "static"
INDEX = "index.html"

# Everything the page loads is its own, so text from the network can't become code in it. Noise suppression
# and backgrounds are WebAssembly.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "font-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_ALLOWED = (
    "autoplay",
    "camera",
    "display-capture",
    "fullscreen",
    "microphone",
    "picture-in-picture",
    "screen-wake-lock",
    "speaker-selection",
)
PERMISSIONS_POLICY = ", ".join(f"{name}=(self)" for name in _ALLOWED)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "permissions-policy": PERMISSIONS_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))  # best first
_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".woff2": "font/woff2"}


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    media_type: str
    cached: str
    encodings: tuple[tuple[str, Path], ...]


class BuiltPage:
    """The files of a build; a route of each."""

    def __init__(self, built: Path = BUILT) -> None:
        every = {path.relative_to(built).as_posix(): path for path in built.rglob("*") if path.is_file()}
        compressed = tuple(suffix for _, suffix in _ENCODINGS)
        self._files = {
            name: _File(
                path,
                _media_type(name),
                _FOR_EVER if name.startswith("assets/") else "no-cache",
                tuple(
                    (coding, every[name + suffix]) for coding, suffix in _ENCODINGS if name + suffix in every
                ),
            )
            for name, path in every.items()
            if not name.endswith(compressed)
        }

    def routes(self, index: str = "/") -> list[Route]:
        """Each file at its own path, and the page itself at `index`."""
        paths = {f"/{name}": name for name in self._files if name != INDEX}
        return [
            Route(index, self._answering(INDEX)),
            *(Route(path, self._answering(name)) for path, name in paths.items()),
        ]

    def _answering(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        file = self._files.get(name)

        async def answer(request: Request) -> Response:
            if file is None:
                return _NOT_BUILT
            return _response(file, request.headers.get("accept-encoding", ""))

        return answer


_NOT_BUILT = PlainTextResponse(
    "The page of the meeting app is not built: script/setup does it.\n", status_code=503, headers=_HEADERS
)


def _response(file: _File, accepted: str) -> Response:
    headers = {**_HEADERS, "cache-control": file.cached}
    path = file.path
    if file.encodings:
        headers["vary"] = "accept-encoding"
        codings = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
        for coding, compressed in file.encodings:
            if coding in codings:
                headers["content-encoding"] = coding
                path = compressed
                break
    return FileResponse(path, headers=headers, media_type=file.media_type)


def _media_type(name: str) -> str:
    suffix = Path(name).suffix
    return _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
