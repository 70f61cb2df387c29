"""A site as a whole: the same bytes twice, swapped in at once, nothing of others deleted, names escaped, links lead."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from bench_core.errors import RequestError
from bench_core.reports.site import cell_pages
from bench_core.reports.site.build import MARKER, build_site
from bench_core.reports.site.content import SiteContent
from bench_core.reports.site.writer import SiteWriter

Make = Callable[..., dict[str, Any]]
ContentOf = Callable[..., SiteContent]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "line\u2028separator\u2029 end",
    "\u202eright to left\u202c",
    "{{ 7 * 7 }}",
    "javascript:alert(1)//",
    "../../outside",
    "long" * 500,
]


@pytest.fixture
def records(make_record: Make) -> list[dict[str, Any]]:
    return [
        make_record(method, task, seed, value + seed / 100)
        for method, value in (("nac", 0.6), ("vae", 0.5))
        for task in ("linear", "knn")
        for seed in range(3)
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_equal_records_give_equal_bytes_in_any_process(
    make_record: Make, content_of: ContentOf, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    site = build_site(content_of(records), tmp_path / "site")
    first = files(tmp_path / "site")
    assert set(first) == set(site.written)
    assert all(str(tmp_path).encode() not in content for content in first.values())
    script = (
        "import json, sys; from pathlib import Path; from bench_core.plugins import load_plugins\n"
        "from bench_core.reports.site.build import build_site\n"
        "from bench_core.reports.site.content import SiteBoard, SiteContent\n"
        "from bench_core.reports.tables.entries import entries_of\n"
        "from bench_core.store.record import record_from_json\n"
        "entries = entries_of(map(record_from_json, reversed(json.load(sys.stdin))))\n"
        "board = SiteBoard('made', 'Made by hand', '', '', entries)\n"
        "build_site(SiteContent([board], [], load_plugins(), None), Path('again'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(records), text=True, cwd=tmp_path, env=environment, check=True
    )
    assert files(tmp_path / "again") == first


def test_a_site_is_replaced_at_once_and_a_stopped_build_leaves_the_old_one(
    make_record: Make, content_of: ContentOf, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "site"
    build_site(content_of(records, name="old"), out)
    before = files(out)

    def stop(text: str) -> None:
        assert files(out) == before
        if text == "index.html":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_site(content_of(records, name="new"), out, stop)
    assert files(out) == before
    build_site(content_of(records, name="new"), out)
    assert (out / "boards" / "new.html").is_file()
    assert not (out / "boards" / "old.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_that_is_no_site_is_refused_and_stays(
    content_of: ContentOf, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(
        RequestError, match=r"thesis holds files that are no site of `bench site`, such as 'chapter.tex'"
    ):
        build_site(content_of(records), tmp_path / "thesis")
    with pytest.raises(RequestError, match=r"chapter.tex is a file; choose another --out"):
        build_site(content_of(records), tmp_path / "thesis" / "chapter.tex")
    assert files(tmp_path) == {"thesis/chapter.tex": b"years of work"}


def test_a_file_of_somebody_else_within_a_site_is_not_lost(
    content_of: ContentOf, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    build_site(content_of(records), tmp_path)  # an empty folder may become a site
    (tmp_path / "CNAME").write_text("boards.example.org")
    with pytest.raises(RequestError, match=r"did not write, such as 'CNAME'; they would be lost. Move them away"):
        build_site(content_of(records), tmp_path)
    (tmp_path / "CNAME").unlink()
    (tmp_path / MARKER).write_text("[]")
    with pytest.raises(RequestError, match="no site"):
        build_site(content_of(records), tmp_path)


def test_a_template_that_would_show_a_function_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_core.reports.site.writer.HERE", tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "trial.html").write_text("{{ trial.values }}")
    with pytest.raises(TypeError, match="a template shows a function"):
        SiteWriter(tmp_path / "site").page("trial.html", "trial.html", {"trial": {"values": 1}})


def test_no_address_leads_out_of_the_site_or_is_written_twice(tmp_path: Path) -> None:
    site = SiteWriter(tmp_path / "site")
    site.file("a/b.txt", b"")
    for address in ("a/b.txt", "../c.txt", "a/../../c.txt", "/c.txt", ""):
        with pytest.raises(ValueError, match="leads out of the site, or is written twice"):
            site.file(address, b"")


class _Parts(HTMLParser):
    """Collects the tags and attributes of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip() and "src" not in self.tags[-1][1]:
            self.inline.append(data)


def pages(folder: Path) -> Iterator[tuple[str, _Parts]]:
    for path in sorted(folder.rglob("*.html")):
        yield path.relative_to(folder).as_posix(), _Parts(path.read_text(encoding="utf-8"))


@pytest.fixture(params=[2000, 2])
def hostile_site(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    make_record: Make,
    make_score: Make,
    content_of: ContentOf,
    tmp_path: Path,
) -> Path:
    """Site of a store whose methods, tasks, metrics, reasons and machines all are named to break a page.

    Once each record has a page of its own, and once most of them are data of one page.
    """
    monkeypatch.setattr(cell_pages, "PAGES", request.param)
    records = []
    for number, name in enumerate(HOSTILE):
        config = {"note": name}
        score = make_score(name, 0.5 + number / 100, embedding=name, caveat=name)
        for seed in range(3):
            names = {"method": name, "task": name, "encoder": name, "dataset": name if number % 2 else "digits"}
            record = make_record(f"m{number}", "knn", seed, [score], names=names, config=config, notes=[name])
            record["provenance"] |= {"device": name, "command": name, "commit": name}
            records.append({**record, "protocol": name})
    build_site(content_of(records, title=HOSTILE[1], description="\n\n".join(HOSTILE), command=HOSTILE[0]), tmp_path)
    return tmp_path


def assert_harmless(address: str, page: _Parts) -> None:
    """Assert that no name has become a tag, an attribute or an address of a page or a part of one."""
    assert page.inline == [], address
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form"), address
        assert not [name for name in attributes if name.startswith("on")], (address, tag, attributes)
        assert "style" not in attributes, (address, tag)
        for name in ("href", "src", "data-address"):
            value = attributes.get(name) or ""
            is_empty_icon = (tag, value) == ("link", "data:,")
            assert is_empty_icon or urlsplit(value).scheme in ("", "https" if tag == "a" else ""), (address, value)
            is_far = bool(urlsplit(value).scheme)
            assert is_far or ".." not in PurePosixPath(value.removeprefix("../")).parts, (address, value)
    assert not [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src") == "x"]


def parts_of_cells(folder: Path) -> dict[str, _Parts]:
    """Return the parts of pages in data/cells: the only data that are HTML, so that "<" stands in them."""
    parts: dict[str, _Parts] = {}
    for path in (folder / "data" / "cells").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        start = f'bench.put("cells/{path.stem}", '
        assert text.startswith(start)
        made = json.loads(text.removeprefix(start).removesuffix(");\n"))
        parts |= {key: _Parts(part) for key, part in made.items()}
    return parts


def test_hostile_names_are_text_in_every_page_and_script(hostile_site: Path) -> None:
    found = {**dict(pages(hostile_site)), **(parts := parts_of_cells(hostile_site))}
    for address, page in found.items():
        assert_harmless(address, page)
    assert not any(tag == "script" for part in parts.values() for tag, _ in part.tags)
    assert bool(parts) == (hostile_site / "cell.html").exists()
    assert "boards/made.html" in found
    for path in (hostile_site / "data").rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert path.parent.name == "cells" or not re.search("[<>&\u2028\u2029]", text), path
        assert text.startswith("bench.put("), path
    shown = (hostile_site / "boards" / "made.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "{{ 7 * 7 }}" in shown
    assert all(len(part) < 200 for path in files(hostile_site) for part in path.split("/"))
    assert lost_links(hostile_site) == []


def lost_links(folder: Path) -> list[tuple[str, str]]:
    """Return page and target of all links to a file or an anchor that a site does not have."""
    parsed = dict(pages(folder))
    ids = {address: {attributes.get("id") for _, attributes in page.tags} for address, page in parsed.items()}
    lost = []
    for address, page in parsed.items():
        for name, value in {(name, value) for _, attributes in page.tags for name, value in attributes.items()}:
            if name not in ("href", "src") or not value or urlsplit(value).scheme:
                continue
            path, _, fragment = value.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(address), unquote(path))) if path else address
            has_view = (target.startswith(("boards/", "compare/")) and "=" in fragment) or target == "cell.html"
            is_there = (folder / target).is_file() and (has_view or not fragment or fragment in ids[target])
            lost += [] if is_there else [(address, value)]
    return lost
