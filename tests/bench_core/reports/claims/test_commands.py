"""Commands that measure claims: what they name, and that they name nothing else."""

import pytest

from bench_core.cli.group import main
from bench_core.reports.claims.claim import Claim
from bench_core.reports.claims.commands import commands_for


def claim(left: str, right: tuple[str, ...] | float, score: str, board: str = "mnist", **more: object) -> Claim:
    stated = {"claim": "It is better.", "source": "abstract", "by": "paper", "paper_scale": "large", "scale": "cpu"}
    measured = {"board": board, "left": left, "right": right, "score": score, "relation": "higher"}
    return Claim(**stated, **measured, **more)  # type: ignore[arg-type]


def test_rows_that_need_the_same_tasks_share_a_command() -> None:
    claims = [
        claim("nac", ("simclr",), "linear:top1", control=("nac_without_noise",)),
        claim("nac", ("simclr",), "retrieval:map"),
    ]
    assert [command.text for command in commands_for(claims)] == [
        "bench run --board mnist --methods nac,simclr --tasks linear,retrieval",
        "bench run --board mnist --methods nac_without_noise --tasks linear",
    ]


def test_boards_datasets_and_encoders_have_commands_of_their_own() -> None:
    claims = [
        claim("dim", 0.5, "knn:top1", dataset="cora", encoder="gcn"),
        claim("dim", 0.5, "knn:top1", dataset="citeseer"),
        claim("dim", 0.5, "knn:top1", board="own boards/b.toml"),
    ]
    assert [command.text for command in commands_for(claims)] == [
        "bench run --board mnist --datasets cora --encoders gcn --methods dim --tasks knn",
        "bench run --board mnist --datasets citeseer --methods dim --tasks knn",
        "bench run --board 'own boards/b.toml' --methods dim --tasks knn",
    ]


def test_every_command_names_exactly_the_pairs_of_row_and_task_that_claims_need() -> None:
    claims = [claim(a, (b,), f"{task}:x") for a, b, task in [("a", "b", "t"), ("a", "c", "u"), ("d", "b", "u")]]
    pairs = [(row, task) for command in commands_for(claims) for row in command.methods for task in command.tasks]
    assert sorted(pairs) == sorted({(row, c.task) for c in claims for row in c.rows})


def test_a_claim_that_no_board_measures_needs_no_command() -> None:
    stated = {"claim": "It is better.", "source": "abstract", "paper_scale": "large", "needs": "a board of films"}
    assert commands_for([Claim(by="paper", **stated)]) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("more", [{}, {"dataset": "mnist", "encoder": "convnet"}])
def test_a_command_is_one_that_bench_takes(more: dict[str, str]) -> None:
    (command,) = commands_for([claim("nac", ("simclr",), "linear:top1", **more)])
    with main.commands["run"].make_context("run", command.words) as context:
        assert context.params["methods"] == ["nac", "simclr"]
