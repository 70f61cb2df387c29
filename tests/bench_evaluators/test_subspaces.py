from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import BenchError, DataSpec, Frozen
from bench_core.conformance.toys import Untrained
from bench_evaluators.subspaces import Subspaces, SubspacesConfig, overlap, residuals

Freeze = Callable[..., Frozen]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def two_planes(items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % 2
    points = drawn(items, 2, seed=seed)
    zeros = torch.zeros_like(points)
    first = (labels == 0)[:, None]
    return torch.cat([points.where(first, zeros), zeros.where(first, points)], 1), labels


def test_overlap_is_the_mean_squared_cosine_between_classes_over_those_inside() -> None:
    items, labels = F.normalize(drawn(24, 5), dim=1), torch.arange(24) % 3
    squared = (items @ items.T).square()

    def mean(a: int, b: int) -> Tensor:
        return squared[labels == a][:, labels == b].mean()

    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = torch.stack([mean(a, b) / (mean(a, a) * mean(b, b)).sqrt() for a, b in pairs]).mean()
    assert overlap(items, labels) == pytest.approx(float(expected))


def test_overlap_of_two_lines_is_the_squared_cosine_of_their_angle() -> None:
    lines = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8], [-0.6, -0.8]]).double()
    assert overlap(lines, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.36)


def test_overlap_depends_neither_on_signs_nor_on_a_rotation() -> None:
    items, labels = F.normalize(drawn(40, 6), dim=1), torch.arange(40) % 4
    rotation = torch.linalg.qr(drawn(6, 6, seed=1))[0]
    signs = drawn(40, 1, seed=2).sign()
    assert overlap(signs * items @ rotation, labels) == pytest.approx(overlap(items, labels))


def test_classes_in_orthogonal_planes_have_no_overlap_and_are_all_recognised(freeze: Freeze) -> None:
    frozen = freeze({"train": _part(*two_planes(600)), "test": _part(*two_planes(400, seed=1))})
    scores = {score.metric: score for score in Subspaces(SubspacesConfig(directions=2)).evaluate(frozen).scores}
    assert scores["overlap"].value == pytest.approx(0, abs=1e-12)
    assert scores["overlap"].chance == pytest.approx(1, abs=0.05)
    assert scores["top1"].value == 1


def test_residuals_are_those_of_a_projection_on_singular_vectors() -> None:
    train, items, labels = drawn(30, 6), drawn(7, 6, seed=1), torch.arange(30) % 3
    left = residuals(items, train, labels, 4, 2)
    for c in range(3):
        basis = torch.linalg.svd(train[labels == c])[2][:2]
        for item, value in zip(items, left[:, c], strict=True):
            assert float((item - basis.T @ (basis @ item)).square().sum()) == pytest.approx(float(value))
    assert left[:, 3].isinf().all()  # a class without items is no answer


def test_lengths_of_embeddings_do_not_matter(freeze: Freeze) -> None:
    items, labels = drawn(60, 6), torch.arange(60) % 3
    scale = drawn(60, 1, seed=3).abs() + 0.1
    plain, scaled = (
        freeze({"train": _part(rows, labels), "test": _part(rows, labels)}) for rows in (items, items * scale)
    )
    values = [[s.value for s in Subspaces(SubspacesConfig()).evaluate(frozen).scores] for frozen in (plain, scaled)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_latent_is_read_before_features_and_a_named_embedding_before_both(freeze: Freeze) -> None:
    (latent, labels), features = two_planes(60), torch.ones(60, 4)
    part = {"features": features, "latent": latent.float()}, labels
    frozen = freeze({"train": part, "test": part})
    by_default = Subspaces(SubspacesConfig()).evaluate(frozen).scores[0]
    assert by_default.embedding == "latent"
    assert by_default.value == pytest.approx(0, abs=1e-12)
    assert Subspaces(SubspacesConfig(embedding="features")).evaluate(frozen).scores[0].value == pytest.approx(1)
    with pytest.raises(BenchError, match="no embedding named 'code'"):
        Subspaces(SubspacesConfig(embedding="code")).evaluate(frozen)


def test_data_without_classes_is_skipped() -> None:
    unlabelled = DataSpec(name="plain", shape=(1, 8, 8), splits={"train": 10, "test": 10})
    assert Subspaces(SubspacesConfig()).skip_reason(unlabelled, Untrained) == "needs labels"


def _part(rows: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    return {"features": rows.float()}, labels
