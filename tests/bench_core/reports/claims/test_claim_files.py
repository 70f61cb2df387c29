"""Claim files are read as typed claims, and a file that does not fit is refused with its name and key."""

from pathlib import Path

import pytest

from bench_core.errors import RequestError
from bench_core.reports.claims import files
from bench_core.reports.claims.files import load_papers, read_paper

FILE = """
title = "NAC"
paper = "authors, title, venue year"
url = "https://arxiv.org/abs/1"
[claims.retrieval]
claim = "It finds images of the same class at least as well as SimCLR."
source = "abstract"
by = "paper"
paper_scale = "ImageNet, ResNet-50"
scale = "cpu"
board = "mnist"
left = "nac"
right = "simclr"
score = "retrieval:map_cosine"
relation = "not_lower"
margin = 0.01
control = "nac_without_noise"
"""


def written(folder: Path, text: str = FILE, name: str = "nac.toml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_claim_has_its_rows_and_score(tmp_path: Path) -> None:
    written(tmp_path)
    paper = load_papers([tmp_path])["nac"]
    claim = paper.claims["retrieval"]
    assert (paper.key, paper.title, claim.name) == ("nac", "NAC", "retrieval")
    assert (claim.left, claim.right, claim.control) == ("nac", ("simclr",), ("nac_without_noise",))
    assert (claim.task, claim.metric, claim.rows) == (
        "retrieval",
        "map_cosine",
        ("nac", "simclr", "nac_without_noise"),
    )
    assert claim.is_measurable
    assert claim.where == f"{tmp_path / 'nac.toml'}: claims.retrieval"


def test_right_may_be_several_rows_or_a_number(tmp_path: Path) -> None:
    several = read_paper(written(tmp_path, FILE.replace('"simclr"', '["simclr", "byol"]'))).claims["retrieval"]
    assert several.others == ("simclr", "byol")
    number = read_paper(written(tmp_path, FILE.replace('"simclr"', "1"))).claims["retrieval"]
    assert (number.right, number.others) == (1.0, ())


def test_a_claim_that_no_board_measures_yet_says_what_it_needs(tmp_path: Path) -> None:
    lines = [line for line in FILE.splitlines() if line.partition(" ")[0] not in ("scale", "board", "right")]
    with pytest.raises(RequestError, match=r"nac.toml: claims.retrieval: scale, board, right missing; .* `needs` must"):
        read_paper(written(tmp_path, "\n".join(lines)))
    claim = read_paper(written(tmp_path, "\n".join([*lines, 'needs = "a board, 3 hours"']))).claims["retrieval"]
    assert not claim.is_measurable
    assert claim.needs == "a board, 3 hours"


def test_a_board_may_be_a_file_seen_from_the_claim_file(tmp_path: Path) -> None:
    claim = read_paper(written(tmp_path, FILE.replace('"mnist"', '"boards/mine.toml"'))).claims["retrieval"]
    assert claim.board == str(tmp_path / "boards" / "mine.toml")


@pytest.mark.parametrize(
    ("right_line", "wrong_line", "message"),
    [
        ('title = "NAC"', "title = 3", r"title must be a text that is not empty, got 3"),
        ('title = "NAC"', 'titel = "NAC"', r"'titel' does not exist; did you mean 'title'\?"),
        ("https://arxiv.org/abs/1", "http://a b", r"url must begin with https://"),
        ("margin = 0.01", "margn = 0.01", r"claims.retrieval.margn does not exist; did you mean 'margin'\?"),
        ("margin = 0.01", "margin = -1.0", r"margin must be a number >= 0, got -1.0"),
        ("margin = 0.01", "margin = nan", r"claims.retrieval.margin must be float, got nan"),
        ("margin = 0.01", "", r"relation 'not_lower' needs a margin > 0"),
        ('"not_lower"', '"better"', r"relation must be 'higher' \| 'lower' .* got 'better'"),
        ('"not_lower"', '"equal"', r"a claim with relation .equal. has no control"),
        ('"retrieval:map_cosine"', '"retrieval"', r"score must be TASK:METRIC, like \"linear:top1\", got 'retrieval'"),
        ('"retrieval:map_cosine"', '"retrieval:*"', r"score must be TASK:METRIC"),
        ('board = "mnist"', 'board = "mn\\u0000ist"', r"board must be a name on one line, got 'mn.x00ist'"),
        ('"simclr"', "true", r"right must be a row, a list of rows or a number, got True"),
        ('"simclr"', "inf", r"right must be|right"),
        ('"simclr"', "[]", r"right must be a row, a list of rows or a number, got \[\]"),
        ('"simclr"', '["simclr", 1]', r"right must be a row, a list of rows or a number"),
        ('"nac_without_noise"', "3", r"control must be a row or a list of rows, got 3"),
        ('"nac_without_noise"', '"nac"', r"must be different rows; 'nac' stands there twice"),
        ('by = "paper"', "", r"claims.retrieval lacks by; every claim has claim, source, by, paper_scale"),
        ('by = "paper"', 'by = "them"', r"by must be 'paper' \| 'ours', got 'them'"),
        ('source = "abstract"', 'source = " "', r"source must be a text that is not empty"),
        ("[claims.retrieval]", '[claims."a b"]', r"claims.'a b' must be letters, digits"),
        ("[claims.retrieval]", 'claims = 3\n[other]', r"does not exist"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, right_line: str, wrong_line: str, message: str) -> None:
    assert right_line in FILE
    with pytest.raises(RequestError, match=message) as error:
        read_paper(written(tmp_path, FILE.replace(right_line, wrong_line)))
    assert str(tmp_path / "nac.toml") in str(error.value)


def test_papers_come_from_all_folders_and_no_two_have_one_key(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b", name="dim.toml")
    assert list(load_papers([tmp_path / "b", tmp_path / "a"])) == ["dim", "nac"]
    written(tmp_path / "b")
    with pytest.raises(RequestError, match="are of one paper"):
        load_papers([tmp_path / "a", tmp_path / "b"])


def test_a_file_needs_claims_and_a_name_that_can_be_typed(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"claims must be tables, \[claims.NAME\], at least one"):
        read_paper(written(tmp_path, FILE.partition("[claims")[0]))
    with pytest.raises(RequestError, match="its name must be letters"):
        read_paper(written(tmp_path, name="my paper.toml"))


def test_the_example_in_the_docstring_is_a_claim_file(tmp_path: Path) -> None:
    example = (files.__doc__ or "").partition("\n\n")[2]
    assert list(read_paper(written(tmp_path, example)).claims) == ["retrieval", "likelihood"]
