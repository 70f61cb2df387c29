"""Answers requests of browsers: the pages and the state of what runs, to nobody but those who have the token.

Every request needs a Host of this machine, so that no other site can reach the server through a browser (DNS
rebinding), and the token: once in the address, then in a cookie. There is no way to write: GET and HEAD alone.
"""

import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STATE = "/live/state.json"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Cache-Control": "private, no-cache",  # kept, and asked about by its tag
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NO_TOKEN = "This server answers to the address that `bench serve` has printed, with its token.\n"
# Not a redirect: after a link from another site, browsers keep a strict cookie back until the page itself asks.
_WELCOME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>bench</title><link rel="icon" href="data:,">
<meta http-equiv="refresh" content="0; url=./"></head>
<body><p><a href="./">To the boards</a></p></body></html>
"""


class App:
    """The ASGI application of `bench serve`."""

    def __init__(
        self,
        token: str,
        cookie: str,
        folder: Callable[[], Path],
        state: Callable[[], tuple[bytes, str]],
    ) -> None:
        """Build it.

        Args:
            token: What a request needs.
            cookie: Name of the cookie that keeps it; cookies of all ports of a machine share their names.
            folder: Returns the folder of the pages as it is now.
            state: Returns the JSON of what runs, and its tag; called in a thread.
        """
        self._token, self._cookie, self._folder, self._state = token, cookie, folder, state

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        response = await self._response(scope)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        await response(scope, receive, send)

    async def _response(self, scope: "Scope") -> Response:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if _host(headers.get("host", "")) not in _HOSTS:
            return PlainTextResponse("This server answers to names of this machine alone.\n", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("There is nothing to write.\n", 405, {"Allow": "GET, HEAD"})
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["path"] == "/" and asked and self._is_token(asked[0]):
            welcome = HTMLResponse(_WELCOME)
            welcome.set_cookie(self._cookie, self._token, path="/", httponly=True, samesite="strict")
            return welcome
        if not self._is_token(_cookies(headers.get("cookie", "")).get(self._cookie, "")):
            return PlainTextResponse(_NO_TOKEN, 403)
        if scope["path"] == STATE:
            return await self._state_response(headers)
        try:
            return await _Files(directory=self._folder(), html=True).answer(scope)
        except HTTPException as error:
            return PlainTextResponse("There is no such page.\n", error.status_code)

    async def _state_response(self, headers: Mapping[str, str]) -> Response:
        body, tag = await run_in_threadpool(self._state)
        if headers.get("if-none-match") == f'"{tag}"':
            return Response(status_code=304, headers={"ETag": f'"{tag}"'})
        return Response(body, media_type="application/json", headers={"ETag": f'"{tag}"'})

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token.encode())


class _Files(StaticFiles):
    """Files below a folder, with tags; nothing above it, and no link that leads out of it."""

    async def answer(self, scope: "Scope") -> Response:
        """Return a file, or raise HTTPException."""
        return await self.get_response(self.get_path(scope), scope)


def _host(text: str) -> str:
    """Return the name in a Host header, without the port: any may be forwarded to ours."""
    name, colon, port = text.rpartition(":")
    return (name if colon and port.isdecimal() else text).lower()


def _cookies(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(";"))
    return {name: value.strip('"') for name, _, value in pairs}
