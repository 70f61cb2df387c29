"""Turns Markdown of the manual, of boards and of docstrings into HTML; HTML in it never gets through."""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup, escape

from bench_core.reports.site.formulas import formula

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_BEGIN = re.compile(r"<!-- bench:begin (\S+) -->")
_SECTION = re.compile(r"(<!-- bench:begin (\S+) -->).*?<!-- bench:end \2 -->", re.DOTALL)
_INLINE_FORMULA = re.compile(r"\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)|\$\$([^$]+?)\$\$")
_CODE_OR_ADDRESS = re.compile(r"(`[^`]+`|https://[^\s<>\"'`]*[^\s<>\"'`.,;:)])")
_SCROLLS = 'tabindex="0"'  # what is wider than a phone scrolls by itself, by keyboard, too


@dataclass(frozen=True)
class PageLinks:
    """Finds the page of the site that a link in a Markdown file of the project leads to.

    Attributes:
        pages: Addresses of all pages that such links may lead to: "methods/nac.html", "claims/index.html".
        has_manual: Whether the manual's site lies in the folder above.
    """

    pages: frozenset[str]
    has_manual: bool = False

    def from_file(self, file: str, root: str) -> Callable[[str], str | None]:
        """Return the function that `to_html` takes as `links`.

        Args:
            file: The Markdown file, from the folder of the project: "docs/methods/nac.md".
            root: The way from the HTML page to the folder of the site: "../".
        """

        def find(target: str) -> str | None:
            if target.startswith("#"):
                return target
            path, _, fragment = target.partition("#")
            address = self._address(posixpath.normpath(posixpath.join(posixpath.dirname(file), path)), fragment)
            return None if address is None else root + address

        return find

    def _address(self, path: str, fragment: str) -> str | None:
        folder, _, rest = path.removesuffix("/README.md").partition("/")
        if folder == "docs" and (found := re.fullmatch(r"(methods|tasks)(?:/([^/]+)\.md)?", rest)):
            address = f"{found[1]}/{found[2] or 'index'}.html"
            return self._known(address, fragment)
        if folder == "docs" and self.has_manual and (found := re.fullmatch(r"([\w-]+)\.md", rest)):
            return f"../{found[1]}.html" + (f"#{fragment}" if fragment else "")
        if (folder, rest) == ("leaderboards", "claims"):
            paper = max((page for page in self.pages if self._is_paper(page, fragment)), key=len, default="")
            key = paper.removeprefix("claims/").removesuffix(".html")
            return self._known(paper or "claims/index.html", fragment.removeprefix(key).removeprefix("-"))
        if folder == "leaderboards":
            return self._known(f"boards/{rest}.html" if rest else "index.html", "")
        return None

    @staticmethod
    def _is_paper(page: str, fragment: str) -> bool:
        return page.startswith("claims/") and f"{fragment}-".startswith(f"{page[7:-5]}-")

    def _known(self, address: str, fragment: str) -> str | None:
        if address not in self.pages:
            return None
        return f"{address}#{fragment}" if fragment else address


def to_html(
    markdown: str,
    *,
    links: Callable[[str], str | None] = lambda target: None,
    shift: int = 0,
    sections: Mapping[str, Markup] | None = None,
) -> Markup:
    """Return Markdown as HTML.

    Args:
        markdown: Tables and formulas between $ are known; HTML is shown as the text that it is, comments are left out.
        links: Link that is not to https -> where it leads on the site; None leaves its text alone. `PageLinks` has one.
        shift: Levels by which headings are lowered.
        sections: Name of generated markers -> what takes the place of what stands between them. The content of other
            markers stays.

    Returns:
        HTML whose values are escaped.
    """
    given = sections or {}
    text = _SECTION.sub(lambda found: f"\n\n{found[1]}\n\n" if found[2] in given else found[0], markdown)
    parser = _parser(given)
    tokens = parser.parse(text)
    _number_headings(tokens, shift)
    _empty_heads_are_cells(tokens)
    for token in tokens:
        if token.children:
            token.children = _with_links(token.children, links)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # the renderer escapes all values


def in_pieces(
    markdown: str, names: Sequence[str], *, links: Callable[[str], str | None] = lambda target: None
) -> list[tuple[Markup, str]]:
    """Return Markdown as HTML in pieces, which end where a generated section begins; what it held is left out.

    Args:
        markdown: The text, as `to_html` takes it.
        names: Names of the markers.
        links: As `to_html` takes them.

    Returns:
        (HTML, the name of the section that follows it); the last piece has "".
    """
    html = to_html(markdown, links=links, sections={name: Markup(f"\0{name}\0") for name in names})
    pieces = html.split("\0")
    return list(zip(pieces[::2], [str(piece) for piece in pieces[1::2]] + [""], strict=True))


def with_code(text: str) -> Markup:
    """Return a line of text in which what stands between backticks is code, and addresses are links."""
    return Markup("").join(_as_link_or_code(part) for part in _CODE_OR_ADDRESS.split(text))


def _as_link_or_code(part: str) -> Markup:
    if len(part) > 2 and part[0] == part[-1] == "`":
        return Markup("<code>{}</code>").format(part[1:-1])
    if _CODE_OR_ADDRESS.fullmatch(part):
        return Markup('<a href="{0}">{0}</a>').format(part)
    return escape(part)


def title_and_rest(markdown: str) -> tuple[str, str]:
    """Return the text of the heading with which a page begins, and what follows; "" and all where there is none."""
    first, _, rest = markdown.lstrip().partition("\n")
    return (first[2:].strip(), rest) if first.startswith("# ") else ("", markdown)


def anchor(heading: str) -> str:
    """Return the anchor of a heading, by the rule that code hosts have."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _parser(sections: Mapping[str, Markup]) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")  # HTML is found, so that comments can be left out
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before("fence", "formula", _block_formula, interrupts)

    def html(self: RendererHTML, tokens: Sequence[Token], number: int, options: Any, env: Any) -> str:
        content = tokens[number].content
        if content == "<br>":  # the only way to a new line in a cell of a table
            return content
        if (begin := _BEGIN.fullmatch(content.strip())) and begin[1] in sections:
            return sections[begin[1]]
        shown = escapeHtml(_COMMENT.sub("", content)).strip("\n")
        return f"<p>{shown}</p>\n" if shown.strip() and tokens[number].type == "html_block" else shown

    for name in ("html_block", "html_inline"):
        parser.add_render_rule(name, html)
    parser.add_render_rule(
        "table_open", lambda *_: f'<div class="wide" role="group" aria-label="Table" {_SCROLLS}><table>'
    )
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("image", _image)
    for name in ("fence", "code_block"):
        parser.add_render_rule(name, _code_block)
    for name, block in (("formula_inline", False), ("formula_block", True)):
        parser.add_render_rule(
            name, lambda self, tokens, number, *_, block=block: formula(tokens[number].content, block)
        )
    return parser


def _image(self: RendererHTML, tokens: Sequence[Token], number: int, options: Any, env: Any) -> str:
    """Return the alternative text of a picture: pages load nothing but files of the site."""
    return escapeHtml(tokens[number].content)


def _code_block(self: RendererHTML, tokens: Sequence[Token], number: int, options: Any, env: Any) -> str:
    return f"<pre {_SCROLLS}><code>{escapeHtml(tokens[number].content)}</code></pre>\n"


def _number_headings(tokens: Sequence[Token], shift: int) -> None:
    """Lower the headings and give each an anchor of its own."""
    used = {"main"}
    for number, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + shift)}"
        if token.type == "heading_open":
            inside = tokens[number + 1].children or ()
            text = "".join(child.content for child in inside if child.type in ("text", "code_inline"))
            name = first = anchor(text) or "section"
            for again in count(1):
                if name not in used:
                    break
                name = f"{first}-{again}"
            used.add(name)
            token.attrSet("id", name)


def _empty_heads_are_cells(tokens: Sequence[Token]) -> None:
    """Make plain cells of heads of a table without text, which would announce nothing to screen readers."""
    for first, inside, last in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if first.type == "th_open" and not inside.content.strip():
            first.tag = last.tag = "td"


def _with_links(children: Sequence[Token], links: Callable[[str], str | None]) -> list[Token]:
    """Lead links to pages of the site; those that lead nowhere become their text."""
    kept, leads = list[Token](), list[bool]()
    for token in children:
        if token.type == "link_open":
            target = str(token.attrGet("href") or "")
            address = target if urlsplit(target).scheme in ("https", "http") else links(target)
            leads.append(address is not None)
            if address is not None:
                token.attrs = {"href": address}
        if token.type not in ("link_open", "link_close") or leads[-1]:
            kept.append(token)
        if token.type == "link_close":
            leads.pop()
    return kept


def _inline_formula(state: StateInline, silent: bool) -> bool:
    """Read a formula between $ within a line of text."""
    found = _INLINE_FORMULA.match(state.src, state.pos) if state.src[state.pos] == "$" else None
    if found is None:
        return False
    if not silent:
        state.push("formula_inline", "", 0).content = found[1] or found[2]
    state.pos = found.end()
    return True


def _block_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read lines from one that begins with $$ to the one that ends with $$."""
    if state.is_code_block(start) or not _line(state, start).startswith("$$"):
        return False
    lines = list[str]()
    for line in range(start, end):
        lines.append(_line(state, line))
        text = "\n".join(lines)
        if len(text) > 4 and text.endswith("$$"):
            if not silent:
                token = state.push("formula_block", "", 0)
                token.content, token.map = text[2:-2], [start, line + 1]
                state.line = line + 1
            return True
    return False


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()
