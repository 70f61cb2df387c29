from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Evaluation, Frozen, results, run
from bench_core.config import plain
from bench_core.conformance.toys import Untrained
from bench_core.errors import BenchError
from bench_evaluators.disentanglement.evaluator import Disentanglement, DisentanglementConfig

SIZES = {"shape": 3, "scale": 4, "x": 8}
QUICK: dict[str, Any] = {"train_trials": 300, "test_trials": 200, "tree_items": 200}


def factors(count: int, seed: int, sizes: Mapping[str, int] = SIZES) -> Tensor:
    rng = np.random.RandomState(seed)
    return torch.from_numpy(np.stack([rng.randint(0, size, count) for size in sizes.values()], 1))


def spec(sizes: Mapping[str, int] | None = SIZES, **splits: int) -> DataSpec:
    return DataSpec(shape=(1, 8, 8), splits=splits or {"train": 800, "test": 400}, factors=sizes)


def frozen(make: Any, sizes: Mapping[str, int] = SIZES, name: str = "features") -> Frozen:
    """Make a frozen method whose embeddings are `make` of the factors."""
    splits = {}
    for split, count, seed in (("train", 800, 0), ("test", 400, 1)):
        known = factors(count, seed, sizes)
        codes = make(known)
        splits[split] = Embedded(codes if isinstance(codes, dict) else {name: codes.float()}, known[:, 0], known)
    no: Any = None
    return Frozen(splits, spec(sizes), 0, torch.device("cpu"), no, no)


def measure(trained: Frozen, **config: Any) -> tuple[dict[str, float], Evaluation]:
    evaluation = Disentanglement(DisentanglementConfig(**{**QUICK, **config})).evaluate(trained)
    return {score.metric: score.value for score in evaluation.scores}, evaluation


def noise(count: int, dims: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed + count))


def test_perfect_codes_beat_rotated_ones_and_those_beat_noise() -> None:
    basis = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    deviation = torch.tensor([float(np.sqrt((size**2 - 1) / 12)) for size in SIZES.values()])
    perfect, evaluation = measure(frozen(lambda known: known))
    rotated, _ = measure(frozen(lambda known: known / deviation @ basis))
    chance_level, _ = measure(frozen(lambda known: noise(len(known), 3)))
    assert list(perfect) == [
        "mig", "med", "top_1_med", "sap_nearest_mean", "dci_disentanglement_trees", "dci_completeness_trees",
        "dci_informativeness_trees", "factor_vae_score", "beta_vae_score",
    ]  # fmt: skip
    for metric, value in perfect.items():
        assert value > chance_level[metric] + 0.4
        assert value >= rotated[metric] >= chance_level[metric] - 0.01
    assert f"perfect codes of these items: mig {perfect['mig']:.3f}, med {perfect['med']:.3f}" in evaluation.notes
    for score in evaluation.scores:
        assert score.chance == pytest.approx(chance_level[score.metric], abs=0.1)


def test_learners_are_fitted_on_train_and_measured_on_test() -> None:
    trained = frozen(lambda known: known)
    before, _ = measure(trained)
    test = trained.splits["test"]
    mirrored = Embedded({"features": -test.embeddings["features"]}, test.labels, test.factors)
    with_mirrored = Frozen(
        {**trained.splits, "test": mirrored}, trained.data, 0, trained.device, trained.method, trained.inputs
    )
    changed, _ = measure(with_mirrored)
    assert changed["mig"] == pytest.approx(before["mig"], abs=0.01)  # MIG fits nothing
    assert changed["sap_nearest_mean"] < before["sap_nearest_mean"] - 0.3
    assert changed["dci_informativeness_trees"] < before["dci_informativeness_trees"] - 0.3


def test_default_embedding_is_the_first_of_embedding_latent_features() -> None:
    def all_three(known: Tensor) -> dict[str, Tensor]:
        return {"features": noise(len(known), 4), "latent": noise(len(known), 3), "embedding": known.float()}

    for without, expected in (((), "embedding"), (("embedding",), "latent"), (("embedding", "latent"), "features")):
        trained = frozen(lambda known, gone=without: {k: v for k, v in all_three(known).items() if k not in gone})
        _, evaluation = measure(trained)
        assert {score.embedding for score in evaluation.scores} == {expected}
        assert f"; {expected}; " in evaluation.protocol
    assert measure(frozen(all_three), embedding="features")[0]["mig"] < 0.1
    with pytest.raises(BenchError, match=r"no embedding named 'code'\. This method has: embedding, features, latent"):
        measure(frozen(all_three), embedding="code")


@pytest.mark.parametrize(
    "make",
    [
        lambda known: torch.zeros(len(known), 4),
        lambda known: torch.ones(len(known), 1),
        lambda known: known[:, :1],
        lambda known: known[:, 2:3].repeat(1, 6),
        lambda known: 1e30 * noise(len(known), 3),
        lambda known: noise(len(known), 3) > 0,
    ],
    ids=["constant", "one constant", "one code", "rank 1", "huge", "bits"],
)
def test_poor_embeddings_are_measured(make: Any) -> None:
    scores, evaluation = measure(frozen(make))
    for value in scores.values():
        assert 0 <= value <= 1
    assert all(0 <= score.chance <= 1 for score in evaluation.scores if score.chance is not None)


def test_a_constant_factor_is_left_out_and_named() -> None:
    sizes = {"colour": 1, **SIZES}
    scores, evaluation = measure(frozen(lambda known: known[:, 1:], sizes))
    assert scores["mig"] == pytest.approx(measure(frozen(lambda known: known))[0]["mig"], abs=0.01)
    assert "left out, constant: colour" in evaluation.notes
    with pytest.raises(BenchError, match="fewer than two factors vary"):
        measure(frozen(lambda known: known, {"colour": 1, "x": 5}))


def test_items_whose_factor_is_unknown_are_left_out_for_it_and_counted() -> None:
    whole = frozen(lambda known: known)
    partly = {}
    for name, part in whole.splits.items():
        assert part.factors is not None
        hidden = part.factors.clone()
        hidden[: len(hidden) // 4, 1] = -1
        partly[name] = replace(part, factors=hidden)
    scores, evaluation = measure(replace(whole, splits=partly))
    assert "scale: 300 items, whose value is unknown, are left out for it" in evaluation.notes
    assert scores["mig"] == pytest.approx(measure(whole)[0]["mig"], abs=0.02)
    assert min(scores["factor_vae_score"], scores["beta_vae_score"]) > 0.95


def test_wide_embeddings_are_read_in_part_and_active_codes_are_counted() -> None:
    scale = torch.cat([torch.ones(20), torch.full((10,), 0.01)])
    _, evaluation = measure(frozen(lambda known: noise(len(known), 30) * scale), max_codes=12)
    assert "12 of 30 codes, drawn at random" in evaluation.notes
    count = next(int(note.split()[0]) for note in evaluation.notes if note.endswith("of 12 codes are active"))
    assert 2 <= count < 12
    _, evaluation = measure(frozen(lambda known: noise(len(known), 30) * scale))
    assert "20 of 30 codes are active" in evaluation.notes


def test_outliers_and_rare_values_are_noted() -> None:
    def with_outlier(known: Tensor) -> Tensor:
        codes = known.float().clone()
        codes[0, :2] = 1e6
        return codes

    _, evaluation = measure(frozen(with_outlier))
    assert "outliers put .95 of the items into one bin of 2 codes: MIG and MED see little there" in evaluation.notes
    rare = [note for note in evaluation.notes if "items only: trials repeat items" in note]
    assert len(rare) == 1  # 400 items of test, 8 positions
    _, evaluation = measure(frozen(lambda known: known), batch_size=5)
    assert not [note for note in evaluation.notes if "outliers" in note or "items only" in note]


def test_published_learners_have_other_metric_names() -> None:
    sizes = {"shape": 3, "x": 4}
    trained = frozen(lambda known: known + 0.1 * noise(len(known), 2), sizes)
    scores, evaluation = measure(trained, learners="published", tree_items=200, items=300)
    assert {"sap_svm", "dci_disentanglement_boosting"} <= scores.keys()
    assert scores["dci_disentanglement_boosting"] > 0.9
    assert "LinearSVC" in evaluation.protocol
    assert "on 200 items; FactorVAE" in evaluation.protocol
    assert "on 300 of test" in evaluation.protocol


def test_published_learners_have_the_published_numbers_of_items() -> None:
    """Those of the study's dci.gin and sap_score.gin: 10,000 to learn from and 5,000 to measure."""
    published = DisentanglementConfig(learners="published")
    assert (published.items, published.tree_items, published.test_items) == (10_000, 10_000, 5_000)
    assert (published.train_trials, published.test_trials, published.batch_size) == (10_000, 5_000, 64)
    fewer = DisentanglementConfig(learners="published", tree_items=300, test_items=200)
    assert (fewer.tree_items, fewer.test_items) == (300, 200)
    assert DisentanglementConfig().tree_items == 2000


def test_numbers_of_items_are_in_the_key_of_the_published_learners_and_keys_of_the_fast_ones_stay() -> None:
    added = {"test_items": 5_000, "tree_items": 10_000, "learners": "published"}
    assert plain(DisentanglementConfig(learners="published")) == plain(DisentanglementConfig()) | added
    assert "test_items" not in plain(DisentanglementConfig())


def test_learners_are_measured_on_the_test_items_that_are_asked_for() -> None:
    trained = frozen(lambda known: known + 0.1 * noise(len(known), 3))
    scores, evaluation = measure(trained, test_items=50)
    everything, _ = measure(trained)
    assert "both measured on 50 of test" in evaluation.protocol
    n = {score.metric: score.n for score in evaluation.scores}
    assert (n["mig"], n["sap_nearest_mean"], n["dci_completeness_trees"]) == (400, 50, 50)
    assert scores["mig"] == everything["mig"]
    right = scores["dci_informativeness_trees"] * 3 * 50  # over three factors
    assert right == pytest.approx(round(right))
    assert scores["sap_nearest_mean"] == pytest.approx(everything["sap_nearest_mean"], abs=0.2)


def test_data_without_known_factors_is_skipped() -> None:
    task = Disentanglement(DisentanglementConfig())
    for data, reason in (
        (spec(None), "needs data with known factors (sprites, dsprites, shapes3d)"),
        (spec({"shape": 3, "colour": 1}), "needs two factors that vary"),
        (spec(train=10), "needs a test split"),
        (spec(), None),
    ):
        assert task.skip_reason(data, Untrained) == reason


@pytest.mark.parametrize(
    "name", ["items", "bins", "top", "tree_items", "test_items", "train_trials", "batch_size", "max_codes"]
)
def test_parameters_out_of_range_are_refused(name: str) -> None:
    changes: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be >= "):
        DisentanglementConfig(**changes)


def test_factors_reach_the_task_from_the_dataset(tmp_path: Path) -> None:
    settings = {
        "sprites.train_size": 200,
        "sprites.test_size": 100,
        "sprites.size": 8,
        **{f"disentanglement.{name}": value for name, value in QUICK.items()},
    }
    run("pixels", "disentanglement", datasets="sprites", seeds=[0], store=tmp_path, progress=False, settings=settings)
    scores = results(tmp_path).set_index("metric")["value"]
    assert len(scores) == 9
    assert scores["beta_vae_score"] > 0.3  # pixels tell the position of a sprite
