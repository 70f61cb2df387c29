"""The claims that come with the project name rows and tasks that their boards have."""

import pytest

from bench_core.errors import RequestError
from bench_core.plugins import load_plugins
from bench_core.reports.claims.check import check_claim
from bench_core.reports.claims.claim import Paper
from bench_core.reports.claims.evidence import BoardTables
from bench_core.reports.claims.files import load_papers

PAPERS = load_papers()


@pytest.fixture(scope="module")
def boards() -> BoardTables:
    return BoardTables(load_plugins())


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_claims_name_rows_and_a_task_of_their_board(paper: Paper, boards: BoardTables) -> None:
    faults = []
    for claim in paper.claims.values():
        try:
            check_claim(claim, boards)
        except RequestError as error:
            faults.append(str(error))
    assert not faults, "\n".join(faults)


def test_there_are_forty_claims_of_which_most_have_a_board() -> None:
    claims = [claim for paper in PAPERS.values() for claim in paper.claims.values()]
    assert len(claims) >= 40
    assert sum(claim.is_measurable for claim in claims) >= 40
