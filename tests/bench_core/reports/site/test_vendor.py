"""The libraries of the site's pages are the ones that were written down, with their licences, and stay small."""

import hashlib
import tomllib

import pytest

from bench_core.reports.site.writer import HERE

VENDOR = HERE / "vendor"
LIBRARIES = tomllib.loads((VENDOR / "versions.toml").read_text(encoding="utf-8"))["library"]


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library["file"])
def test_library_is_the_one_that_npm_gave(library: dict[str, str]) -> None:
    content = (VENDOR / library["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == library["sha256"]
    assert library["version"].count(".") == 2


def test_each_file_belongs_to_a_library_and_each_library_has_its_licence() -> None:
    named = {library[kind] for library in LIBRARIES for kind in ("file", "licence_file")}
    assert {path.name for path in VENDOR.iterdir()} == named | {"versions.toml"}
    for library in LIBRARIES:
        text = (VENDOR / library["licence_file"]).read_text(encoding="utf-8")
        assert text.startswith(library["package"])
        assert "Copyright" in text


def test_site_adds_less_than_two_megabytes_to_the_wheel() -> None:
    paths = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in paths) < 2_000_000
