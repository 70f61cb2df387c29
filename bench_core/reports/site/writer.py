"""Writes the files of a site: pages from templates, data as scripts, and copies; equal content gives equal bytes."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

HERE = Path(__file__).parent


class SiteWriter:
    """Writes into one folder; addresses are relative to it, with "/" between folders.

    Attributes:
        out: The folder.
        written: Address -> bytes of each file so far.
        has_manual: Whether the manual's site lies in the folder above.
    """

    def __init__(
        self, out: Path, told: Callable[[str], None] = lambda _: None, *, served: bool = False, manual: bool = False
    ) -> None:
        """Name the folder; it is made with the first file.

        Args:
            out: The folder.
            told: Gets the address of each file before it is written.
            served: Whether the pages are those of `bench serve`, which have one more, "Live".
            manual: Whether the manual's site lies in the folder above; pages then link to it.
        """
        self.out = out
        self._told, self._served, self.has_manual = told, served, manual
        self.written: dict[str, int] = {}

    def page(self, address: str, template: str, values: Mapping[str, Any]) -> None:
        """Write a page.

        Args:
            address: Its place, such as "boards/digits.html".
            template: A file of templates/, which extends base.html.
            values: What the template shows; `root` ("../") leads from the page to the folder of the site.
        """
        root = "../" * (len(PurePosixPath(address).parts) - 1)
        self.file(address, self.rendered(template, {**values, "root": root, "address": address}).encode())

    def rendered(self, template: str, values: Mapping[str, Any]) -> str:
        """Return the HTML of a template, for parts of pages that are data."""
        return self._templates.get_template(template).render(values)

    def data(self, address: str, name: str, value: Any) -> None:
        """Write a value as a classic script that hands it to `bench.put` under a name.

        Args:
            address: Its place, such as "data/boards/digits.js".
            name: The name under which pages ask for it, such as "board/digits".
            value: A JSON value; numbers that are not finite are refused.
        """
        self.file(address, f"bench.put({as_script(name)}, {as_script(value)});\n".encode())

    def file(self, address: str, content: bytes) -> None:
        """Write a file as it is.

        Raises:
            ValueError: The address leads out of the folder, or is written twice.
        """
        parts = PurePosixPath(address).parts
        if not parts or ".." in parts or PurePosixPath(address).is_absolute() or address in self.written:
            raise ValueError(f"address {address!r} leads out of the site, or is written twice")
        self._told(address)
        path = self.out / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)  # `build_site` sees that all of them are on the disk, and appear at once
        self.written[address] = len(content)

    @cached_property
    def _templates(self) -> jinja2.Environment:
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.globals |= {"served": self._served, "manual": self.has_manual}
        return templates


def as_script(value: Any) -> str:
    """Return a JSON value as the text of a script, in which no text can end the script or a line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _shown(value: Any) -> Any:
    """Return what a template shows; `{{ trial.values }}` of a dictionary would show its method, and an address.

    Raises:
        TypeError: It is a function.
    """
    if callable(value) and not isinstance(value, jinja2.Undefined):  # `{{ a if b }}` without an else is undefined
        raise TypeError(f"a template shows a function: {value!r}")
    return value
