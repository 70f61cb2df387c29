"""docs/claims.md: its example is a claim file, its table names every key, its commands are commands."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

from bench_core.cli import main
from bench_core.reports.claims.claim import Claim, Paper
from bench_core.reports.claims.files import read_paper
from bench_core.reports.claims.folders import GROUP

PAGE = (Path(__file__).parents[4] / "docs" / "claims.md").read_text()
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_is_a_claim_file(tmp_path: Path) -> None:
    (tmp_path / "nac.toml").write_text(TOML[0])
    (claim,) = read_paper(tmp_path / "nac.toml").claims.values()
    assert claim.is_measurable


def test_the_table_names_every_key_and_no_other() -> None:
    table = PAGE.partition("## Keys of a claim file")[2].partition("## ")[0]
    heads = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    named = {key for head in heads for key in re.findall(r"`(\w+)`", head)}
    of_claim = {field.name for field in fields(Claim)} - {"name", "where"}
    assert named == of_claim | {field.name for field in fields(Paper)} - {"key", "claims"}


def test_the_entry_point_is_the_one_that_is_looked_up() -> None:
    assert f'[project.entry-points."{GROUP}"]' in TOML[1]


def test_the_commands_parse() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    assert len(lines) >= 7
    for words in lines:
        assert words[:2] == ["bench", "claims"]
        with main.commands["claims"].make_context("claims", words[2:]):
            pass
