import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from bench_core.seeds import stream
from bench_evaluators.fewshot.episodes import centroid_accuracy, draw_episodes

LABELS = torch.tensor([0] * 9 + [1] * 7 + [2] * 12 + [3] * 3 + [4] * 8)[
    torch.randperm(39, generator=torch.Generator().manual_seed(0))
]


def features(spread: float = 1.0, dim: int = 6) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    centres = torch.randn(5, dim, generator=rng)
    return centres[LABELS] * spread + torch.randn(39, dim, generator=rng)


def test_an_episode_has_different_classes_and_different_items_of_each() -> None:
    index = draw_episodes(LABELS, 3, 7, 200, stream(0, "x"))
    assert index.shape == (200, 3, 7)
    classes = LABELS[index]
    assert bool((classes == classes[..., :1]).all())
    for episode, drawn in zip(index.tolist(), classes[..., 0].tolist(), strict=True):
        assert len(set(drawn)) == 3
        assert all(len(set(items)) == 7 for items in episode)
    assert set(classes.flatten().tolist()) == {0, 1, 2, 4}  # class 3 has three items only


def test_all_items_of_a_class_are_equally_likely() -> None:
    index = draw_episodes(LABELS, 2, 3, 4000, stream(0, "x"))
    counts = torch.bincount(index.flatten(), minlength=39)[LABELS == 2].double()
    expected = 4000 * 2 / 5 * 3 / 12
    assert bool(((counts - expected).abs() < 5 * expected**0.5).all())


def test_episodes_are_the_same_twice_and_others_by_seed() -> None:
    first, again, different = (draw_episodes(LABELS, 3, 5, 20, stream(seed, "x")) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, different)


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 classes of 9 items are needed, there are 2"):
        draw_episodes(LABELS, 3, 9, 5, stream(0, "x"))


@pytest.mark.parametrize("shots", [1, 4])
def test_accuracy_is_that_of_a_slow_loop_and_of_scikit_learn(shots: int) -> None:
    values, index = features(), draw_episodes(LABELS, 4, 7, 30, stream(0, "x"))
    slow, sklearn = [], []
    for episode in index:
        centroids = [values[items[:shots]].mean(0) for items in episode]
        queries = [(way, int(item)) for way, items in enumerate(episode) for item in items[shots:]]
        right = 0
        for way, item in queries:
            distances = [float((values[item] - centroid).square().sum()) for centroid in centroids]
            right += distances.index(min(distances)) == way
        slow.append(right / len(queries))
        if shots == 1:
            continue  # scikit-learn divides by the items less the classes
        model = NearestCentroid().fit(
            values[episode[:, :shots].flatten()].numpy(), torch.arange(4).repeat_interleave(shots).numpy()
        )
        answers = model.predict(values[episode[:, shots:].flatten()].numpy())
        sklearn.append(float((answers == torch.arange(4).repeat_interleave(7 - shots).numpy()).mean()))
    accuracy = centroid_accuracy(values, index, shots).tolist()
    assert accuracy == pytest.approx(slow)
    assert sklearn == (pytest.approx(slow) if shots > 1 else [])


def test_rotation_and_shift_of_features_change_no_accuracy() -> None:
    values, index = features(), draw_episodes(LABELS, 4, 7, 30, stream(0, "x"))
    turn = torch.linalg.qr(torch.randn(6, 6, generator=stream(0, "y"))).Q
    assert torch.equal(centroid_accuracy(values, index, 2), centroid_accuracy(values @ turn * 3 + 5, index, 2))


def test_noise_is_at_chance_and_distant_classes_are_separated() -> None:
    index = draw_episodes(LABELS, 4, 7, 300, stream(0, "x"))
    noise = torch.randn(39, 200, generator=stream(0, "z"))
    assert float(centroid_accuracy(noise, index, 2).mean()) == pytest.approx(0.25, abs=0.06)
    assert float(centroid_accuracy(features(50.0), index, 2).mean()) == 1.0
    assert float(centroid_accuracy(torch.zeros(39, 3), index, 2).mean()) == 0.25  # ties go to the first
