"""The pages of cells: one for each record of a site, and one page for all records beyond the first 2,000."""

from bench_core.reports.site.content import SiteContent

PAGES = 2000  # records with a page of their own; the others are data of one page
_DIGITS = 16  # of a record's key in addresses


def cell_addresses(content: SiteContent) -> dict[str, str]:
    """Return key -> address of the page of each record of a site.

    The first records have a page of their own, "cells/KEY16.html"; the others are shown by one, "cell.html#KEY16".
    Boards count in their order and keys inside a board in theirs, so the same records always have pages.

    Args:
        content: The site; a record that several boards have counts for the first of them.
    """
    keys: dict[str, None] = {}
    for board in content.boards:
        keys |= dict.fromkeys(sorted(entry.record.key for entry in board.entries if entry.record))
    return {
        key: f"cells/{key[:_DIGITS]}.html" if number < PAGES else f"cell.html#{key[:_DIGITS]}"
        for number, key in enumerate(keys)
    }
