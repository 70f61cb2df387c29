"""Steps of ours in the build of the manual by mkdocs: what GitHub shows is also what the site shows.

- The navigation lists the pages of a folder, so that a new method needs no line in `mkdocs.yml`.
- Links out of `docs/` lead to the boards' site, which lies beside the manual, or show the path in the repository.
- Formulas become MathML, which browsers draw themselves.
- Tables of our numbers stay out of the search: they are a third of all text, and nobody searches for a number.
- `<!-- api: NAME -->` becomes the documentation of a Python object; GitHub shows nothing there.
"""

import logging
import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Link, Navigation
from mkdocs.structure.pages import Page

from bench_core.reports.site.formulas import formula

# A link or a picture that leads upwards; code comes first, because links in it are none.
LINK = re.compile(
    r"^```.*?^```|`[^`\n]*`|(?P<picture>!?)\[(?P<shown>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>\.\./[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
BOARD = re.compile(r"leaderboards/(\w+)(?:/.*)?")
API = re.compile(r"<!-- api: (\S+) -->")
FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<formula>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
SEARCH = 'data-md-component="search" role="dialog"'
log = logging.getLogger("mkdocs.hooks.manual")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the pages of a folder into the navigation, where it names the folder."""
    config.nav = _expanded(config.nav or [], Path(config.docs_dir))
    return config


def _expanded(entries: list[Any], docs: Path) -> list[Any]:
    return [
        {title: _pages(value, docs) for title, value in entry.items()} if isinstance(entry, dict) else entry
        for entry in entries
    ]


def _pages(value: Any, docs: Path) -> Any:
    if isinstance(value, list):
        return _expanded(value, docs)
    return _folder(docs, value) if value.endswith("/") else value


def _folder(docs: Path, name: str) -> list[str]:
    """Return the pages of a folder, its README first."""
    pages = sorted(path.relative_to(docs).as_posix() for path in (docs / name).glob("*.md"))
    return sorted(pages, key=lambda page: not page.endswith("README.md"))


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Add the boards to the navigation: their site lies beside the manual."""
    nav.items.insert(1, Link("Boards", "boards/index.html"))
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with the links and the Python objects of the site."""

    def link(found: re.Match[str]) -> str:
        if found["target"] is None:  # code
            return found[0]
        folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))
        target = posixpath.normpath(posixpath.join(folder, found["target"].partition("#")[0]))
        if target.startswith("docs/"):
            return found[0]
        up = posixpath.relpath(".", posixpath.dirname(page.file.dest_uri) or ".")
        if found["picture"]:
            return f"![{found['shown']}]({up}/{_picture(target, config, files)})"
        return _outside(LINK.sub(link, found["shown"]), target, up)

    markdown = markdown.replace("\n## Our numbers\n", "\n## Our numbers {data-search-exclude}\n")
    return API.sub(r"::: \1", LINK.sub(link, markdown))


def _picture(target: str, config: MkDocsConfig, files: Files) -> str:
    """Return the place in the site of a picture of the repository, which is copied there."""
    place = "pictures/" + "_".join(Path(target).parts[-2:])
    if files.get_file_from_path(place) is None:
        files.append(File.generated(config, place, abs_src_path=str(Path(config.docs_dir).parent / target)))
    return place


def _outside(shown: str, target: str, up: str) -> str:
    """Return the link to a board's page, or the path of another file of the repository beside the words."""
    board = BOARD.fullmatch(target)
    if board is None:
        return shown if target in shown else f"{shown} (`{target}`)"
    place = "claims/index.html" if board[1] == "claims" else f"boards/{board[1]}.html"
    return f'<a href="{up}/boards/{place}">{shown}</a>'


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Return the page with its formulas as MathML."""

    def mathml(found: re.Match[str]) -> str:
        tag, source = found["tag"], unescape(found["formula"])
        drawn = formula(source, block=tag == "div")
        if "<math" not in drawn:
            log.warning("%s: no MathML for the formula %s", page.file.src_uri, source)
        return f'<{tag} class="arithmatex">{drawn}</{tag}>'

    return FORMULA.sub(mathml, html)


def on_post_page(output: str, **_: Any) -> str:
    """Return the page with a name for the dialog of the search, which screen readers say."""
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')
