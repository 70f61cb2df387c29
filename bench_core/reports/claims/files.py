"""Claims as files: one for each paper, leaderboards/claims/PAPER.toml.

title = "NAC"                                    # short name, as tables show it
paper = "authors, title, venue year"
url = "https://arxiv.org/abs/..."
[claims.retrieval]
claim = "Its codes find images of the same class at least as well as those of SimCLR."
source = "abstract"                              # where in the paper
by = "paper"                                     # or "ours", where its text and abstract do not say so
paper_scale = "ImageNet, ResNet-50, 100 epochs"
scale = "cpu"                                    # of the board; "paper": that of the paper
board = "mnist"                                  # or a board's file, "boards/mine.toml", seen from this file
dataset = "mnist"                                # and encoder: where the board has several
left = "nac"
right = "simclr"                                 # or a list of rows, all of which are meant, or a number
score = "retrieval:map_cosine"
relation = "not_lower"                           # higher, lower, not_lower, not_higher, equal: of the value
margin = 0.01                                    # in the unit of the score
control = "nac_without_noise"                    # or a list: left must differ from these, too
[claims.likelihood]
claim = "..."
source = "Table 3"
by = "paper"
paper_scale = "..."
needs = "a board with ..., about 3 core-hours"   # where no board measures it yet
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench_core.config import build, read_toml
from bench_core.errors import ConfigError, RequestError, did_you_mean, shown
from bench_core.files import paths_in
from bench_core.reports.claims.claim import Claim, ClaimKeys, Paper
from bench_core.reports.claims.folders import shipped_claims

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_URL = re.compile(r"https://[^\s<>()|\\`]+")  # of characters that cannot end a Markdown link
_PAPER_KEYS = ("title", "paper", "url", "claims")
_REQUIRED = ("claim", "source", "by", "paper_scale")  # of every claim


def load_papers(folders: Iterable[Path] | None = None) -> dict[str, Paper]:
    """Read the claims of all papers, sorted by key.

    Args:
        folders: Folders with a PAPER.toml for each paper; by default the one that comes with the project.

    Raises:
        RequestError: A file is not as the top of this module says, or two papers have one key.
    """
    papers: dict[str, Paper] = {}
    files: dict[str, Path] = {}
    for folder in [shipped_claims()] if folders is None else folders:
        for path in paths_in(folder, ".toml"):
            if path.stem in files:
                raise RequestError(f"{path} and {files[path.stem]} are of one paper; give one of them another name.")
            papers[path.stem], files[path.stem] = read_paper(path), path
    return dict(sorted(papers.items()))


def read_paper(path: Path) -> Paper:
    """Read the claims of one paper.

    Raises:
        RequestError: The file cannot be read, has a key that does not exist, or lacks one; or a value does not fit.
    """
    if not _NAME.fullmatch(path.stem):
        raise RequestError(f"{path}: its name must be letters, digits, '_' and '-', as it is the paper's.")
    document = read_toml(path)
    for key in document:
        if key not in _PAPER_KEYS:
            meant = did_you_mean(key, _PAPER_KEYS)
            raise RequestError(f"{path}: {shown(key)} does not exist{meant} Keys: {', '.join(_PAPER_KEYS)}.")
    texts = {key: document.get(key, "") for key in ("title", "paper", "url")}
    for key, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise RequestError(f"{path}: {key} must be a text that is not empty, got {shown(text)}.")
    if not _URL.fullmatch(texts["url"]):
        raise RequestError(
            f"{path}: url must begin with https:// and hold no blanks, <, >, ( or ), got {shown(texts['url'])}."
        )
    claims = document.get("claims", {})
    if not isinstance(claims, Mapping) or not claims:
        raise RequestError(f"{path}: claims must be tables, [claims.NAME], at least one; got {shown(claims)}.")
    return Paper(path.stem, **texts, claims={name: _claim(name, table, path) for name, table in claims.items()})


def _claim(name: str, table: Any, path: Path) -> Claim:
    where = f"{path}: claims.{name}"
    if not _NAME.fullmatch(name):
        raise RequestError(f"{path}: claims.{shown(name)} must be letters, digits, '_' and '-'.")
    if not isinstance(table, Mapping):
        raise RequestError(f"{where} must be a table, got {shown(table)}.")
    for key in _REQUIRED:
        if key not in table:
            raise ConfigError(f"{where} lacks {key}; every claim has {', '.join(_REQUIRED)}.")
    values = {key: _plain(key, value, where) for key, value in table.items()}
    if values.get("board"):
        values["board"] = _board(values["board"], path)
    return Claim(**vars(build(ClaimKeys, values, where)), name=name, where=where)


def _plain(key: str, value: Any, where: str) -> Any:
    """Return a value as `build` takes it: one row becomes a list of one; what has another type is refused."""
    if key in ("right", "control") and isinstance(value, str):
        value = [value]
    rows = isinstance(value, list) and value and all(isinstance(row, str) and row for row in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key == "right" and not rows and not number:
        raise ConfigError(f"{where}.right must be a row, a list of rows or a number, got {shown(value)}.")
    if key == "control" and not rows:
        raise ConfigError(f"{where}.control must be a row or a list of rows, got {shown(value)}.")
    return value


def _board(board: Any, path: Path) -> Any:
    """Return a board's name as it is, and a file as its path, which the claims name as seen from their own file."""
    if isinstance(board, str) and (board.endswith(".toml") or "/" in board):
        return str(path.parent / board)
    return board
