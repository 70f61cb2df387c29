"""Colours of the site: both dark themes are one, and every text can be read on every ground (WCAG AA)."""

import re

import pytest

from bench_core.reports.site.writer import HERE

CSS = (HERE / "static" / "site.css").read_text(encoding="utf-8")
TEXTS = ["text", "quiet", "accent", "good", "warn", "bad", "best", *(f"series-{number}" for number in range(1, 9))]


def colours(start: str) -> dict[str, str]:
    """Return the colours of the rule that a text begins."""
    rule = CSS[CSS.index(start) :]
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", rule[: rule.index("}")]))


THEMES = {"light": colours(":root {"), "dark": colours(':root[data-theme="dark"] {')}


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_dark_by_the_system_is_dark_by_the_switch() -> None:
    assert colours(':root:not([data-theme="light"]) {') == THEMES["dark"]
    assert set(THEMES["dark"]) == set(THEMES["light"])


@pytest.mark.parametrize("theme", THEMES)
def test_texts_can_be_read(theme: str) -> None:
    colour = THEMES[theme]
    pairs = [(text, ground) for text in TEXTS for ground in ("ground", "raised")]
    pairs += [(text, ground) for text in ("text", "quiet", "accent") for ground in ("sunken", "hover")]
    pairs += [("accent-text", "accent"), ("best", "best-ground"), ("ground", "text"), ("bad", "hover")]
    faint = {pair: contrast(colour[pair[0]], colour[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}
    assert all(contrast(colour["edge"], colour[ground]) >= 3 for ground in ("ground", "raised"))
