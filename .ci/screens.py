#!/usr/bin/env python
"""Takes the pictures of docs/screens from a built site, in headless Chromium: `.ci/screens.py SITE`.

Each shows another page, width and colour scheme. Pictures are reduced to 64 colours, so that each stays small.
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SCREENS = {  # name -> page with its view, width and height, colour scheme
    "board": ("boards/digits.html#hide=clustering%3Aaccuracy", (1280, 900), "light"),
    "comparison": ("compare/digits.html#a=nac&b=simclr&c=nac_without_noise", (1280, 900), "dark"),
    "cell": ("", (390, 844), "dark"),
    "claims": ("claims/nac.html", (390, 844), "light"),
}
COLOURS = 64


def main(site: Path) -> None:
    """Write a picture for each of `SCREENS`."""
    out = Path(__file__).parents[1] / "docs" / "screens"
    out.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        for name, (address, (width, height), scheme) in SCREENS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(f"{site.resolve().as_uri()}/{address or _a_cell(site)}")
            page.wait_for_load_state("networkidle")
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.quantize(COLOURS, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)
        browser.close()


def _a_cell(site: Path) -> str:
    """Return the address of a cell of NAC's codes, found by its title."""
    for path in sorted((site / "cells").glob("*.html")):
        head = path.read_text(encoding="utf-8")[:2000]
        if "digits" in head and "nac" in head and "hashing" in head:
            return f"cells/{path.name}"
    raise SystemExit(f"{site} has no cell of nac and hashing on digits")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
