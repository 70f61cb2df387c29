"""Standardising features, choosing the penalty, and fitting the probe."""

import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core import BenchError, Evaluator
from bench_core.evaluation import linear_probe
from bench_core.evaluation.linear_probe import (
    FIXED_PENALTY,
    GRID,
    convergence,
    fit_probe,
    held_out_part,
    shuffled_ranks,
    standardise,
)
from bench_core.evaluation.logistic_regression import LogisticFit, LogisticProblem
from bench_evaluators.layers import Layers
from bench_evaluators.linear import Linear
from bench_evaluators.mi.evaluator import MI
from bench_evaluators.transfer import Transfer


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def blobs(items: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % 4
    return F.one_hot(labels, 12) * 2 + torch.randn(items, 12, generator=rng()), labels


def held_out_losses(monkeypatch: pytest.MonkeyPatch, loss: Callable[[float], float]) -> None:
    """Replace the loss on held-out items by a function of the penalty."""
    penalties: list[float] = []
    solve = LogisticProblem.solve

    def watched(self: LogisticProblem, penalty: float, *rest: Any) -> LogisticFit:
        penalties.append(penalty)
        return solve(self, penalty, *rest)

    monkeypatch.setattr(LogisticProblem, "solve", watched)
    monkeypatch.setattr(F, "cross_entropy", lambda *_: loss(penalties[-1]))


def test_features_that_are_constant_on_train_become_0() -> None:
    train, test = standardise(torch.tensor([[1.0, 7.1], [3.0, 7.1]]), torch.tensor([[2.0, 9.0]]))
    assert train.tolist() == [[-1, 0], [1, 0]]
    assert test.tolist() == [[0, 0]]


def test_fit_equals_scikit_learn_on_all_of_train() -> None:
    features, labels = blobs(200)
    chosen = fit_probe(features, labels, 4, rng(), grid=(0.02,))
    reference = LogisticRegression(C=1 / (0.02 * 200), tol=1e-8, max_iter=10_000).fit(features.numpy(), labels.numpy())
    torch.testing.assert_close(
        chosen.fit.logits(features).softmax(1),
        torch.from_numpy(reference.predict_proba(features.numpy())).double(),
        rtol=0,
        atol=2e-3,
    )
    assert chosen.note == "penalty 0.02, chosen on 20 held-out training items"
    assert "penalty chosen of 0.02 by the loss on 10% of each training class" in chosen.protocol


def test_noise_gets_a_stronger_penalty_than_clean_features() -> None:
    labels = torch.arange(200) % 4
    noise = torch.randn(200, 50, generator=rng())
    notes = [fit_probe(x, labels, 4, rng(), grid=(1.0, 1e-4)).note for x in (noise, F.one_hot(labels, 50) * 20 + noise)]
    assert [note.split()[1] for note in notes] == ["1,", "0.0001,"]


@pytest.mark.parametrize(
    ("grid", "end"), [((1.0, 1e-4), "weakest"), ((1e-4, 1e-8), "strongest"), ((1.0, 1e-2, 1e-4), ""), ((1e-2,), "")]
)
def test_a_choice_at_an_end_of_the_grid_is_noted(
    grid: tuple[float, ...], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out_losses(monkeypatch, lambda penalty: 1 + abs(math.log10(penalty) - (-2 if len(grid) == 3 else -4)))
    note = fit_probe(*blobs(40), 4, rng(), grid=grid).note
    assert note.endswith(f"; it is the {end} of the grid, beyond which none was tried" if end else "training items")


def test_the_chosen_penalty_has_the_least_held_out_loss_of_all() -> None:
    features, labels = blobs(200)
    held_out = held_out_part(labels, 0.1, 4, rng())
    problem = LogisticProblem(features[~held_out], labels[~held_out], 4)
    fits = [problem.solve(penalty) for penalty in GRID]  # each from 0, to the last one
    losses = [float(F.cross_entropy(fit.logits(features[held_out]), labels[held_out])) for fit in fits]
    chosen = fit_probe(features, labels, 4, rng())
    assert all(fit.converged for fit in fits)
    assert 0 < losses.index(min(losses)) < len(GRID) - 1
    assert chosen.penalty == GRID[losses.index(min(losses))]
    assert chosen.held_out_loss == pytest.approx(min(losses), rel=1e-3)


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ((2.0, 1.0, 1.04, 1.03, 0.5, 0.6, 0.7, 0.1), 1e-4),  # a small bump is passed, a rise by more ends the search
        ((2.0, 1.0, 1.06, 1.03, 0.5, 0.6, 0.7, 0.1), 1e-1),
        ((2.0, 1.0, 0.9015, 0.9004, 0.9, 0.9, 0.9, 0.9), 1e-2),  # flat: the strongest of those that are alike
        ((2.0, 1.0, 0.9025, 0.9, 0.9, 0.9, 0.9, 0.9), 1e-3),
        ((2.0, 1.0, 0.1, 0.0015, 0.0, 0.0, 0.0, 0.0), 1e-3),  # as good as 0: classes are far apart
        ((0.1, 0.2, 0, 0, 0, 0, 0, 0), 1.0),
        ((2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01), 1e-7),
    ],
)
def test_rule_of_the_choice(losses: tuple[float, ...], chosen: float, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out_losses(monkeypatch, dict(zip(GRID, losses, strict=True)).__getitem__)
    assert fit_probe(*blobs(40), 4, rng()).penalty == chosen


@pytest.mark.parametrize(("items", "span"), [(40, -2), (120, -6)])
def test_the_weakest_penalty_converges_on_features_of_very_different_scales(items: int, span: int) -> None:
    """Fewer items than features, and more; mixed, so that standardising does not undo the scales."""
    generator = rng()
    labels = torch.arange(items) % 4
    scales = torch.logspace(0, span, 60)
    latent = (torch.randn(items, 60, generator=generator) + F.one_hot(labels, 60)) * scales
    features, _ = standardise(latent @ torch.randn(60, 60, generator=generator), latent)
    assert LogisticProblem(features, labels, 4).solve(GRID[-1], linear_probe.MAX_ITERATIONS).converged


def test_a_penalty_that_was_chosen_by_fits_that_did_not_converge_is_noted() -> None:
    note = fit_probe(*blobs(80), 4, rng(), grid=(1e-2, 1e-3), max_iterations=1).note
    assert "; NOT converged when it was chosen: 0.01, 0.001" in note


def test_the_only_item_of_a_class_is_not_held_out() -> None:
    features, labels = blobs(41)
    labels = torch.cat([labels[:40] % 3, torch.tensor([3])])
    assert "chosen on 4 held-out" in fit_probe(features, labels, 4, rng()).note


def test_where_nothing_can_be_held_out_the_penalty_is_fixed_and_said_so() -> None:
    features, _ = blobs(4)
    chosen = fit_probe(features, torch.arange(4), 4, rng())
    assert (chosen.penalty, chosen.held_out_loss) == (FIXED_PENALTY, None)
    assert chosen.note.startswith("penalty 0.01 fixed, not chosen: no class has two training items")
    assert "0.01 where no class has an item to hold out" in chosen.protocol
    assert chosen.fit.loss == pytest.approx(LogisticProblem(features, torch.arange(4), 4).solve(FIXED_PENALTY).loss)


def test_a_loss_that_is_not_finite_is_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out_losses(monkeypatch, lambda penalty: math.nan if penalty < 1e-3 else penalty)
    chosen = fit_probe(*blobs(40), 4, rng())
    assert (chosen.penalty, chosen.held_out_loss) == (1e-3, 1e-3)
    for broken in (math.nan, math.inf):
        held_out_losses(monkeypatch, lambda _, broken=broken: broken)  # type: ignore[misc]  # bound in the loop
        with pytest.raises(BenchError, match=f"loss on held-out items is {broken} at penalty 1; it must be finite"):
            fit_probe(*blobs(40), 4, rng())


def test_features_that_are_not_finite_are_refused() -> None:
    features, labels = blobs(40)
    features[3, 2] = math.nan
    with pytest.raises(BenchError, match="needs finite features"):
        fit_probe(features, labels, 4, rng())


def test_shuffled_ranks_select_equally_many_random_items_of_each_class() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0])
    taken = shuffled_ranks(labels, rng()) < 2
    assert torch.bincount(labels[taken]).tolist() == [2, 2]
    assert sorted(shuffled_ranks(labels, rng())[labels == 0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("max_iterations", "text"), [(1000, "converged in "), (1, "NOT converged: stopped after 1 iterations")]
)
def test_note_says_if_the_solver_converged(max_iterations: int, text: str) -> None:
    features, labels = blobs(80)
    fit = fit_probe(features, labels, 4, rng(), max_iterations=max_iterations).fit
    assert convergence([fit]).startswith(text)


CHOSEN = re.compile(r"penalty [\d.e+-]+, chosen on [\d,]+ held-out training items(; it is the \w+ of the grid)?")
PROBES: dict[str, type[Evaluator]] = {
    "bench-core/linear": Linear,
    "bench-core/layers": Layers,
    "bench-core/transfer": Transfer,
    "bench-core/mi": MI,
}
RECORDS = Path(__file__).parents[3] / "leaderboards"
MOST = 0.1  # share of choices that may be at an end of the grid


def choices_at_an_end(records: Iterable[dict[str, Any]]) -> list[bool]:
    """Tell for each penalty that a record of today's tasks notes as chosen if it is at an end of the grid."""
    today = (
        record for record in records
        if (task := PROBES.get(record["doc"]["task"]["id"])) and record["doc"]["task"]["revision"] == task.revision
    )  # fmt: skip
    return [match[1] is not None for record in today for note in record["notes"] for match in CHOSEN.finditer(note)]


def test_published_choices_are_rarely_at_an_end_of_the_grid() -> None:
    paths = RECORDS.glob("*/records/*.json")
    at_end = choices_at_an_end(json.loads(path.read_text(encoding="utf-8")) for path in paths)
    assert sum(at_end) <= MOST * len(at_end), f"{sum(at_end)} of {len(at_end)} penalties are at an end: widen GRID"


def test_choices_at_an_end_are_counted_in_notes_of_todays_revision() -> None:
    features, labels = blobs(40)
    notes = [fit_probe(features, labels, 4, rng(), grid=grid).note for grid in (GRID, (1e-6, 1e-7), (1e-2,))]
    record = {"doc": {"task": {"id": "bench-core/linear", "revision": Linear.revision}}}
    old = {"doc": {"task": {"id": "bench-core/linear", "revision": Linear.revision - 1}}}
    other = {"doc": {"task": {"id": "someone/linear", "revision": Linear.revision}}}
    assert choices_at_an_end([part | {"notes": notes} for part in (record, old, other)]) == [False, True, False]
    assert choices_at_an_end([record | {"notes": [f"conv1: 9 features, {notes[1]}, NOT converged"]}]) == [True]


def test_features_that_are_0_on_train_stay_0() -> None:
    train, test = standardise(torch.zeros(3, 2), torch.ones(2, 2))
    assert (train.tolist(), test.tolist()) == ([[0, 0]] * 3, [[0, 0]] * 2)


def test_a_device_without_double_precision_leaves_the_fit_to_the_cpu() -> None:
    features, labels = blobs(60)
    fits = [fit_probe(features, labels, 4, rng(), grid=(0.02,), device=device).fit for device in ("cpu", "meta")]
    assert torch.equal(fits[0].weights, fits[1].weights)
