"""Pages of a tuned board say how it was tuned and show its trials; a check finds values that the page does not have."""

import pytest

from bench_core.errors import StoreError
from bench_core.reports.pictures.draw import fingerprint_in
from bench_core.reports.pictures.model import NothingToDrawError
from tests.bench_core.reports.pages.conftest import BOARD, Project

CELLS = BOARD.partition("[pictures")[0]  # without its pictures
TUNED = """
[tuning]
metrics.features = "spread:spread"
[rows.strong]
metrics = ["spread:spread"]
trials = 2
best = 1
digest = "sha256:0"
[rows.strong.values]
factor = 4.0
[[rows.strong.tried]]
scores = { "spread:spread" = 0.5 }
[[rows.strong.tried]]
values = { factor = 4.0 }
scores = { "spread:spread" = 0.75 }
"""


@pytest.fixture
def tuned_project(project: Project) -> Project:
    """A project whose board is tuned, run with the values that were found, and published."""
    (project.folder / "board.toml").write_text(f'tuned = "tuned.toml"\n{CELLS}[pictures.trials]\nkind = "tuning"\n')
    (project.folder / "tuned.toml").write_text(TUNED)
    project.run("spread", "look", methods=("strong",))
    project.publish()
    return project


def test_the_page_and_the_readme_say_how_rows_were_tuned_and_show_the_trials(tuned_project: Project) -> None:
    sentence = "Tuned: each row is the best of 2 trials on a held-out 20 % of train, by spread spread;"
    for text in (tuned_project.page(), (tuned_project.root / "README.md").read_text()):
        assert sentence in text
        assert "weak (untuned)" in text
    assert "![trials](trials.svg)" in tuned_project.page()
    assert fingerprint_in(tuned_project.folder / "trials.svg")
    assert tuned_project.folder / "trials.svg" in tuned_project.check()


def test_other_trials_make_the_picture_out_of_date(tuned_project: Project) -> None:
    path = tuned_project.folder / "trials.svg"
    (tuned_project.folder / "tuned.toml").write_text(TUNED.replace("= 0.5 }", "= 0.25 }"))
    with pytest.raises(StoreError, match=r"trials\.svg does not show what its records say"):
        tuned_project.check()
    assert tuned_project.write_pages() == [path]
    assert path in tuned_project.check()


def test_other_values_make_the_page_out_of_date(tuned_project: Project) -> None:
    (tuned_project.folder / "tuned.toml").write_text(TUNED.replace("4.0", "3.0"))
    with pytest.raises(StoreError, match=r"README\.md.* differ from their records"):
        tuned_project.check()
    tuned_project.write_pages()
    assert "Partial: 4 of 8 cells" in tuned_project.page()


def test_a_board_that_names_the_picture_and_is_not_tuned_cannot_be_published(tuned_project: Project) -> None:
    (tuned_project.folder / "trials.svg").unlink()
    (tuned_project.folder / "board.toml").write_text(f'{CELLS}[pictures.trials]\nkind = "tuning"\n')
    with pytest.raises(NothingToDrawError, match="no row of board 'toys' is tuned; `bench tune --board toys` does it"):
        tuned_project.publish()
