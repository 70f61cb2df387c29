"""Requests to the server of `bench serve`: who is let in, what can be asked, and what is never handed out."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench_core.serving.app import App

ADDRESS = "127.0.0.1:8321"
COOKIE = "bench-8321=secret"


class Answer:
    """An answer of the application to one request."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "boards").mkdir(parents=True)
    (site / "index.html").write_text("<h1>Boards</h1>")
    (site / "boards" / "digits.html").write_text("<h1>Digits</h1>")
    (tmp_path / "private.txt").write_text("private")
    (site / "link.txt").symlink_to(tmp_path / "private.txt")
    return site


@pytest.fixture
def app(site: Path) -> App:
    return App("secret", "bench-8321", lambda: site, lambda: (b'{"done": 3}', "tag"))


def ask(
    app: App, path: str, *, method: str = "GET", host: str = ADDRESS, cookie: str = COOKIE, query: str = "",
    **headers: str,
) -> Answer:  # fmt: skip
    """Send one request as a server hands it over: the path is decoded already."""
    sent: list[dict[str, Any]] = []
    given = {"host": host, "cookie": cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value], "root_path": "",
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 8321), "client": ("127.0.0.1", 5),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)  # the client does not hang up
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return Answer(sent)


def test_the_pages_are_for_whoever_has_the_token(app: App) -> None:
    first = ask(app, "/", cookie="", query="token=secret")
    assert first.status == 200
    assert first.headers["set-cookie"].lower() == "bench-8321=secret; httponly; path=/; samesite=strict"
    assert b"secret" not in first.body  # the next address has no token
    assert ask(app, "/").body == b"<h1>Boards</h1>"
    assert ask(app, "/boards/digits.html").body == b"<h1>Digits</h1>"
    assert ask(app, "/", method="HEAD").status == 200


@pytest.mark.parametrize(
    ("cookie", "query"),
    [
        ("", ""),
        ("", "token=wrong"),
        ("", "token="),
        ("bench-8321=wrong", ""),
        ("bench-9=secret", ""),
        ("bench-8321=é", ""),
    ],
)
@pytest.mark.parametrize("path", ["/", "/boards/digits.html", "/live/state.json", "/none"])
def test_nobody_else_is_let_in(app: App, path: str, cookie: str, query: str) -> None:
    answer = ask(app, path, cookie=cookie, query=query)
    assert answer.status == 403
    assert b"bench serve" in answer.body
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8321", "127.0.0.1.evil.example", "localhost.evil:80"]
)
def test_a_host_of_elsewhere_is_refused_even_with_the_token(app: App, host: str) -> None:
    assert ask(app, "/", host=host).status == 403
    assert ask(app, "/", host=host, query="token=secret").status == 403


@pytest.mark.parametrize("host", ["localhost:9000", "LOCALHOST", "127.0.0.1", "[::1]:9000"])
def test_a_port_that_ssh_forwards_may_have_another_number(app: App, host: str) -> None:
    assert ask(app, "/", host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_there_is_no_way_to_write(app: App, method: str) -> None:
    answer = ask(app, "/index.html", method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/../private.txt",
        "/boards/../../private.txt",
        "//etc/passwd",
        "/link.txt",
        "/a\0b",
        "/..",
        f"/{'a' * 5000}",
        "/none",
    ],
)
def test_what_is_outside_of_the_site_is_not_there(app: App, path: str) -> None:
    answer = ask(app, path)
    assert answer.status == 404
    assert answer.body == b"There is no such page.\n"


def test_what_a_browser_has_is_not_sent_again(app: App) -> None:
    first = ask(app, "/boards/digits.html")
    assert first.headers["cache-control"] == "private, no-cache"
    again = ask(app, "/boards/digits.html", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert ask(app, "/live/state.json").body == b'{"done": 3}'
    state = ask(app, "/live/state.json", if_none_match='"tag"')
    assert (state.status, state.body) == (304, b"")


def test_every_answer_forbids_what_pages_do_not_need(app: App) -> None:
    for answer in (ask(app, "/"), ask(app, "/", cookie=""), ask(app, "/none"), ask(app, "/live/state.json")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
