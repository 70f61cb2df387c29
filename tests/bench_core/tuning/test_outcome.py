"""Scores of trials, and the choice among them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Evaluation, Frozen, Score, Split
from bench_core.errors import RequestError
from bench_core.planning.boards import NamedComponent
from bench_core.planning.tuning import Tuning
from bench_core.plugins import Registry
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.tuning.outcome import best_trial, find_trials, metrics_left, metrics_of, outcome
from tests.bench_core.tuning.conftest import Tuner, swap
from tests.conftest import Blobs, Shrink, Spread, toy


def one(*values: float | None) -> list[dict[str, float]]:
    """Scores of one metric; None failed."""
    return [{} if value is None else {"m": value} for value in values]


def test_of_one_metric_the_best_mean_wins_in_its_direction() -> None:
    assert best_trial(one(0.5, 0.7, 0.6), ["m"], []) == 1
    assert best_trial(one(0.5, 0.7, 0.3), ["m"], ["m"]) == 2


def test_ties_go_to_the_earliest_so_that_a_row_stays_unless_something_is_better() -> None:
    assert best_trial(one(0.7, 0.7, 0.7), ["m"], []) == 0
    assert best_trial(one(0.5, 0.7, 0.7), ["m"], []) == 1


def test_failed_trials_are_worst() -> None:
    assert best_trial(one(None, -5.0, None), ["m"], []) == 1
    assert best_trial(one(None, None), ["m"], []) is None


def test_several_metrics_choose_by_the_mean_rank_which_is_computed_by_hand() -> None:
    # a: ranks 1, 2.5, 2.5, 4; b (less is better): ranks 4, 1, 3, 2; sums 5, 3.5, 5.5, 6
    scores = [{"a": 0.9, "b": 40.0}, {"a": 0.8, "b": 10.0}, {"a": 0.8, "b": 30.0}, {"a": 0.1, "b": 20.0}]
    assert best_trial(scores, ["a", "b"], ["b"]) == 1
    # without the second: a has ranks 1, 2, 3 and b 3, 2, 1 of the others, which tie
    assert best_trial([scores[0], {}, scores[2], scores[3]], ["a", "b"], ["b"]) == 0


def test_scale_of_a_metric_does_not_matter() -> None:
    scores = [{"a": 0.9, "b": 40.0}, {"a": 0.8, "b": 10.0}, {"a": 0.85, "b": 12.0}]
    scaled = [{"a": of["a"] * 1e6, "b": of["b"] ** 3} for of in scores]
    assert best_trial(scores, ["a", "b"], ["b"]) == best_trial(scaled, ["a", "b"], ["b"])


def test_rows_of_a_foreign_plugin_come_out_as_all_others(tuner: Tuner) -> None:
    rows = tuner.tune()
    assert list(rows) == ["shrink", "tinted", "tinted_control", "after"]
    for row in rows.values():
        assert (row.trials, len(row.tried), row.seeds, row.validation, row.epochs) == (4, 4, (0,), 0.2, 2)
        assert row.metrics == ("spread:spread",)
        assert row.datasets == {"blobs": {"train_size": 40}}
        scores = [trial.scores["spread:spread"] for trial in row.tried]
        assert scores[row.best] == max(scores)
        assert row.values == row.tried[row.best].values
    assert rows["tinted"].space.keys() == {"recipe.learning_rate", "recipe.weight_decay", "tint", "steps"}


def test_score_is_the_mean_over_seeds(tuner: Tuner) -> None:
    by_seed = [tuner.tune(["shrink"], seeds=(seed,), trials=2)["shrink"].tried for seed in (0, 1)]
    both = tuner.tune(["shrink"], seeds=(0, 1), trials=2)["shrink"].tried
    for first, second, mean in zip(*by_seed, both, strict=True):
        scores = first.scores["spread:spread"], second.scores["spread:spread"]
        assert scores[0] != scores[1]
        assert mean.scores["spread:spread"] == pytest.approx(sum(scores) / 2)


def test_a_row_names_every_commit_that_ran_its_trials(tuner: Tuner) -> None:
    tuner.tune(["shrink"], trials=2)
    search = tuner.search(["shrink"], trials=2)
    found = find_trials(search.rows["shrink"], *tuner.plan(search))
    first, second = found.records.items()
    by_commit = {
        key: replace(
            record,
            provenance=replace(record.provenance, commit=own, pretrain=replace(record.provenance, commit=of_training)),
        )
        for (key, record), own, of_training in [(first, "b2", "c3"), (second, None, "a1")]
    }
    assert outcome(replace(found, records=by_commit), search.tuning, tuner.plugins).commits == ("a1", "b2", "c3")


def test_a_trial_that_diverges_counts_as_worst_and_is_told(tuner: Tuner, change: Callable[[str, str], None]) -> None:
    change("[methods.tinted]\n", "[methods.tinted]\nbroken = true\n")
    change('kind = "control"\n', 'kind = "control"\nbroken = true\n')
    search = tuner.search(["tinted"])
    plan, store = tuner.plan(search)
    assert run_plan(plan, store, RunSetting(device="cpu"), NoProgress())
    found = find_trials(search.rows["tinted"], plan, store)
    assert found.is_finished
    assert [number for number, _ in found.failed_trials()] == [0, 1, 2, 3]
    with pytest.raises(RequestError, match=r"every trial of tinted failed: .*loss"):
        outcome(found, search.tuning, tuner.plugins)


def test_nothing_is_chosen_while_trials_are_left(tuner: Tuner) -> None:
    search = tuner.search(["shrink"])
    plan, store = tuner.plan(search)
    assert not find_trials(search.rows["shrink"], plan, store).is_finished


def test_a_metric_that_no_record_has_is_refused_with_those_there_are(
    tuner: Tuner, change: Callable[[str, str], None]
) -> None:
    change("spread:spread", "spread:width")
    with pytest.raises(RequestError, match=r"shrink has none of spread:width; its trials have spread:spread"):
        tuner.tune(["shrink"], trials=2)


class Draws(Shrink):
    """Method that draws items and encodes none (ours)."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw nothing in particular."""
        return torch.rand(n, 1, 8, 8, generator=rng)


class Decodes(Draws):
    """Method that draws items and encodes some, too (ours)."""

    def decode(self, latents: Tensor) -> Tensor:
        """Decode nothing in particular."""
        return latents


def test_a_row_that_cannot_work_on_the_data_says_why(tuner: Tuner, plugins: Registry) -> None:
    class Picky(Shrink):
        """Method of other data (ours)."""

        @classmethod
        def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
            """Refuse everything."""
            return "needs pairs"

    swap(plugins, "objective", "shrink", Picky)
    with pytest.raises(RequestError, match="shrink needs pairs"):
        tuner.tune(["shrink"], trials=2)


def test_rows_are_tuned_by_the_metrics_of_their_families(registry: Registry) -> None:
    tuning = Tuning(metrics={"features": ("a:x",), "generators": ("b:y", "a:x"), "hashes": ("c:z",)})
    for name, cls in (("draws", Draws), ("decodes", Decodes)):
        registry.components.append(toy("objective", name, cls))
    row = {name: NamedComponent(name, name) for name in ("shrink", "draws", "decodes")}
    assert metrics_of(row["shrink"], tuning, registry) == ["a:x", "c:z"]
    assert metrics_of(row["draws"], tuning, registry) == ["b:y", "a:x", "c:z"]
    assert metrics_of(row["decodes"], tuning, registry) == ["a:x", "b:y", "c:z"]
    only_features = Tuning(metrics={"features": ("a:x",)})
    assert metrics_of(row["draws"], only_features, registry) == []
    assert metrics_of(row["decodes"], only_features, registry) == ["a:x"]


def test_a_hash_is_a_row_whose_score_is_read_from_its_own_code(
    tuner: Tuner, plugins: Registry, change: Callable[[str, str], None]
) -> None:
    class Hashes(Spread):
        """Task whose score says which code it read (ours)."""

        def evaluate(self, frozen: Frozen) -> Evaluation:
            """Return one score."""
            factor: Any = frozen.method().factor
            codes = "code" if factor > 2 else "itq"
            score = Score(metric="map", value=1 / factor, embedding=codes, higher_is_better=False, n=1)
            return Evaluation(scores=[score], protocol="none")

    swap(plugins, "evaluator", "spread", Hashes)
    change('metrics.features = "spread:spread"', 'metrics.hashes = "spread:map"')
    search = tuner.search(["shrink"], trials=2)
    plan, store = tuner.plan(search)
    left = search.rows["shrink"], plan, store, search.tuning, plugins
    assert metrics_left(*left) == ["spread:map"]  # nobody knows yet
    with pytest.raises(RequestError, match=r"shrink has none of spread:map"):
        tuner.tune(["shrink"], trials=2)
    assert metrics_left(*left) == []
    change("[methods.shrink]\n", "[methods.shrink]\nfactor = 3.0\n")
    row = tuner.tune(["shrink"], trials=2)["shrink"]
    assert row.metrics == row.lower == ("spread:map",)


def test_no_trial_opens_the_test_split(tuner: Tuner, plugins: Registry) -> None:
    class Sealed(Blobs):
        """Data whose test split nobody may open (ours)."""

        def load(self, split: str) -> Split:
            """Draw a split, unless it is the test split."""
            assert split == "train", f"{split} was opened"
            return super().load(split)

    swap(plugins, "dataset", "blobs", Sealed)
    rows = tuner.tune(["tinted", "after"])
    assert all(trial.scores for row in rows.values() for trial in row.tried)
