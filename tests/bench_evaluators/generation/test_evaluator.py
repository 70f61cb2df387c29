"""Scores of good, blurred and collapsed methods in the task generation; its protocol, notes and skip reasons."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bench_evaluators.generation.evaluator as module
from bench_core import Batch, DataSpec, Embedded, Evaluation, Frozen, Generative, Loss, Objective, Split
from bench_core.config import plain
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.store.image_grid import image_grid
from bench_core.training.embed import embed_split
from bench_evaluators.generation.evaluator import Generation, GenerationConfig
from bench_methods.autoencoder import Autoencoder
from bench_methods.ctrl import CTRL, CTRLMulti
from bench_methods.uctrl import UCTRL
from bench_methods.vae import VAE

CPU = torch.device("cpu")
SIZES = {"train": 240, "test": 150}
DATA = DataSpec(shape=(1, 8, 8), splits=SIZES, num_classes=3)


def split(count: int, seed: int, labelled: bool = True) -> Split:
    """Draw noise with a bright row, a bright column or a bright diagonal."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, 1, 8, 8), dtype=torch.uint8, generator=rng)
    labels = torch.arange(count) % 3
    marks = torch.zeros(3, 1, 8, 8, dtype=torch.bool)
    marks[0, :, 3], marks[1, :, :, 3], marks[2, 0] = True, True, torch.eye(8) > 0
    images[marks[labels]] = 230
    return Split(images, labels if labelled else None)


class Pixels(Objective):
    """Method whose latents are the pixels, decoded with an error; it draws samples from the images that it kept."""

    def __init__(self, kept: Tensor, error: float = 0.0, collapsed: bool = False) -> None:
        nn.Module.__init__(self)
        self.kept, self.error, self.collapsed = kept.flatten(1) / 255, error, collapsed

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(torch.zeros(()))

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"features": inputs.flatten(1), "latent": inputs.flatten(1)}

    def decode(self, latents: Tensor) -> Tensor:
        latents = latents * 0 + 0.3 if self.collapsed else latents
        noise = torch.rand(latents.shape, generator=torch.Generator().manual_seed(len(latents)))
        return ((1 - self.error) * latents + self.error * noise).view(-1, 1, 8, 8)

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        source = self.kept if like is None else like
        return self.decode(source[torch.randint(len(source), (n,), generator=rng)])


class Sorting(Pixels):
    """Method with its own clusters: one for images with a bright row, one for the others."""

    def assign(self, inputs: Tensor) -> Tensor:
        return (inputs[:, 0, 3].mean(1) > 0.85).long()[None]


def frozen(method: Objective, data: DataSpec = DATA, labelled: bool = True) -> Frozen:
    splits = {"train": split(240, 0, labelled), "test": split(150, 1, labelled)}
    embedded = {name: Embedded(embed_split(method, part, CPU), part.labels) for name, part in splits.items()}
    return Frozen(embedded, data, 0, CPU, lambda: method, lambda name: splits[name])


def evaluate(method: Objective, **config: Any) -> Evaluation:
    return Generation(GenerationConfig(**config)).evaluate(frozen(method))


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the training of the reference network: few steps are enough for these classes."""
    monkeypatch.setattr("bench_evaluators.generation.reference_network.STEPS", 60)


@pytest.fixture(scope="module")
def kept() -> Tensor:
    images = split(400, 2).inputs
    assert isinstance(images, Tensor)
    return images


@pytest.fixture
def perfect(kept: Tensor) -> Evaluation:
    return evaluate(Pixels(kept))


def test_real_images_as_samples_score_the_floor_and_noisy_ones_are_worse(kept: Tensor, perfect: Evaluation) -> None:
    good, noisy = values(perfect), values(evaluate(Pixels(kept, error=0.6)))
    for metric in ("frechet_reference", "kernel_reference", "frechet_pixels_pca64", "frechet_reference_clusters"):
        assert good[metric] < noisy[metric], metric
    for metric in ("precision_reference", "coverage_reference", "ssim_reconstructions", "psnr_reconstructions"):
        assert good[metric] > noisy[metric], metric
    assert abs(good["kernel_reference"]) < 0.1 * noisy["kernel_reference"]
    assert good["inception_score_reference"] > 2.5


def test_a_perfect_copy_has_no_error(perfect: Evaluation) -> None:
    scores = values(perfect)
    assert scores["mse_reconstructions"] == 0
    assert scores["ssim_reconstructions"] == pytest.approx(1)
    assert scores["psnr_reconstructions"] == pytest.approx(58.92, abs=0.01)
    assert scores["frechet_reference_reconstructions"] == pytest.approx(0, abs=1e-4)
    assert scores["frechet_pixels_pca64_reconstructions"] == pytest.approx(0, abs=1e-4)


def test_one_image_for_all_scores_about_chance(kept: Tensor) -> None:
    evaluation = evaluate(Pixels(kept, collapsed=True))
    scores = values(evaluation)
    chance = {score.metric: score.chance or 0.0 for score in evaluation.scores}
    assert scores["inception_score_reference"] == chance["inception_score_reference"] == pytest.approx(1)
    for metric in ("frechet_pixels_pca64", "mse_reconstructions"):  # the mean image is the best of all constant ones
        assert chance[metric] < scores[metric] < 2 * chance[metric]
    assert scores["class_purity_clusters"] == chance["class_purity_clusters"] == 1
    assert scores["recall_reference"] == 0


def test_chance_of_the_error_is_the_distance_to_the_mean_image(perfect: Evaluation) -> None:
    train, test = split(240, 0).inputs, split(150, 1).inputs
    assert isinstance(train, Tensor)
    assert isinstance(test, Tensor)
    slow = ((test.float() - train.float().mean(0)) / 255).square().mean()
    chance = {score.metric: score.chance for score in perfect.scores}["mse_reconstructions"]
    assert chance == pytest.approx(float(slow), rel=1e-3)


def test_first_score_is_the_reference_frechet_distance_and_all_have_equal_n(perfect: Evaluation) -> None:
    assert perfect.scores[0].metric == "frechet_reference"
    assert not perfect.scores[0].higher_is_better
    assert {score.n for score in perfect.scores} == {150}
    best = {score.metric: score.best for score in perfect.scores if score.best is not None}
    distances = [name for name in best if name.startswith("frechet")]
    assert len(distances) == 6
    assert best == dict.fromkeys(distances, 0.0) | {
        "mse_reconstructions": 0.0,
        "psnr_reconstructions": pytest.approx(58.92, abs=0.01),
        "ssim_reconstructions": 1.0,
    }
    assert len({score.metric for score in perfect.scores}) == len(perfect.scores)
    fewer = evaluate(Pixels(torch.rand(9, 64) * 255), items=100)
    assert {score.n for score in fewer.scores} == {100}
    assert "100 test items against 100 samples" in fewer.protocol


def test_clusters_are_k_means_on_latents_or_the_methods_own(kept: Tensor, perfect: Evaluation) -> None:
    assert "3 clusters of k-means on latents (faiss, Euclidean, 3 starts)" in perfect.protocol
    assert values(perfect)["class_purity_clusters"] > 0.95
    assert "5 clusters of k-means" in evaluate(Pixels(kept), clusters=5).protocol
    clustered = evaluate(Sorting(kept))
    assert "the method's own clusters" in clustered.protocol
    assert clustered.notes[0] == "2 clusters hold train items"
    assert values(clustered)["class_purity_clusters"] == pytest.approx(2 / 3, abs=0.05)
    assert clustered.images["clusters"].shape == (16, 1, 8, 8)


def test_one_law_for_all_methods_changes_samples_by_cluster_alone(kept: Tensor, perfect: Evaluation) -> None:
    same_law = evaluate(Pixels(kept), cluster_law="gaussian")
    assert "one Gaussian for each, for all methods" in same_law.protocol
    before, after = values(perfect), values(same_law)
    assert after["frechet_pixels_pca64_clusters"] != before["frechet_pixels_pca64_clusters"]
    assert after["frechet_pixels_pca64"] == before["frechet_pixels_pca64"]


def test_a_seed_gives_one_result_and_the_floor_is_the_same_at_every_seed(kept: Tensor, perfect: Evaluation) -> None:
    assert values(evaluate(Pixels(kept))) == values(perfect)
    first = frozen(Pixels(kept))
    seed_1 = Frozen(first.splits, DATA, 1, CPU, first.method, first.inputs)
    second = Generation(GenerationConfig()).evaluate(seed_1)
    assert values(second) != values(perfect)
    assert list(second.notes) == list(perfect.notes)
    assert second.protocol == perfect.protocol


def test_notes_give_the_floor_and_the_accuracy_of_the_reference_network(perfect: Evaluation) -> None:
    _, first, second, third = perfect.notes
    assert first.startswith("train images as samples: frechet_reference ")
    assert "; uniform noise: frechet_reference " in first
    assert "frechet_pixels_pca64" in second
    assert third.startswith("the reference network is right on ")
    assert "sha256 " in perfect.protocol


def test_without_labels_images_are_compared_by_pixels_only(kept: Tensor) -> None:
    data = DataSpec(shape=(1, 8, 8), splits=SIZES)
    evaluation = Generation(GenerationConfig(clusters=4)).evaluate(frozen(Pixels(kept), data, labelled=False))
    scores = values(evaluation)
    assert evaluation.scores[0].metric == "frechet_pixels_pca64"
    assert {"kernel_pixels_pca64", "recall_pixels_pca64", "mse_reconstructions"} <= set(scores)
    assert not any("reference" in metric or "class" in metric for metric in scores)


def test_pictures_are_rows_of_eight_that_fit_a_record(kept: Tensor, perfect: Evaluation) -> None:
    shapes = {name: tuple(images.shape) for name, images in perfect.images.items()}
    assert shapes == {"samples": (32, 1, 8, 8), "reconstructions": (32, 1, 8, 8), "clusters": (24, 1, 8, 8)}
    pairs = perfect.images["reconstructions"]
    assert torch.equal(pairs[:8], pairs[8:16]), "a perfect copy stands below its image"
    assert not torch.equal(pairs[:8], pairs[16:24])
    many = evaluate(Pixels(kept), clusters=10).images["clusters"]
    assert len(many) == 64
    assert all(image_grid(images) for images in perfect.images.values())


def test_images_smaller_than_a_window_have_no_ssim() -> None:
    images = torch.zeros(3, 1, 6, 9, dtype=torch.uint8)
    metrics = [score.metric for score in module._errors(images, images, images + 9)]
    assert metrics == ["mse_reconstructions", "psnr_reconstructions"]


def test_images_of_two_channels_make_no_pictures() -> None:
    images = torch.zeros(32, 2, 8, 8, dtype=torch.uint8)
    assert module._grids(images, images, None) == {}


class Drawing(Untrained):
    """Method that draws from images that it kept, and decodes nothing."""

    def __init__(self, kept: Tensor) -> None:
        nn.Module.__init__(self)
        self.kept = kept / 255

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"features": inputs.flatten(1)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.kept[torch.randint(len(self.kept), (n,), generator=rng)]


def test_samples_of_a_method_without_a_decoder_get_the_scores_of_one_with_a_decoder(
    kept: Tensor, perfect: Evaluation
) -> None:
    assert not issubclass(Drawing, Generative)
    assert Generation(GenerationConfig()).skip_reason(DATA, Drawing) is None
    evaluation = evaluate(Drawing(kept))
    of_samples = {name for name in values(perfect) if not name.endswith(("_clusters", "_reconstructions"))}
    assert values(evaluation) == {name: value for name, value in values(perfect).items() if name in of_samples}
    assert evaluation.scores[0].metric == "frechet_reference"
    assert list(evaluation.images) == ["samples"]
    assert torch.equal(evaluation.images["samples"], perfect.images["samples"])
    assert list(evaluation.notes) == list(perfect.notes)[1:], "no note on clusters"
    assert not any(word in evaluation.protocol for word in ("cluster", "reconstructions", "ssim"))


@pytest.mark.parametrize("cls", [Autoencoder, VAE, UCTRL, CTRL, CTRLMulti])
def test_every_method_with_a_decoder_is_measured_untrained(cls: Any) -> None:
    torch.manual_seed(0)
    method = cls(TinyEncoder(DATA), DATA, cls.Config(latent_dim=4, width=4)).eval()
    assert issubclass(cls, Generative)
    assert Generation(GenerationConfig()).skip_reason(DATA, cls) is None
    evaluation = evaluate(method)
    assert all(torch.tensor(score.value).isfinite() for score in evaluation.scores)
    assert all(0 <= score.value <= 1 for score in evaluation.scores if score.unit == "fraction")


def test_equal_latents_are_measured(kept: Tensor) -> None:
    method = Pixels(kept)
    trained = frozen(method)
    same = {
        name: Embedded({"latent": torch.ones(count, 64)}, trained.splits[name].labels) for name, count in SIZES.items()
    }
    evaluation = Generation(GenerationConfig()).evaluate(Frozen(same, DATA, 0, CPU, lambda: method, trained.inputs))
    assert all(torch.tensor(score.value).isfinite() for score in evaluation.scores)


def test_inception_scores_have_their_usual_names(kept: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Means:
        def __init__(self, path: str | None, device: torch.device) -> None:
            assert path == "there.pth"

        def features(self, images: Tensor) -> Tensor:
            return images.float().mean((1, 2)) / 255

        def logits(self, features: Tensor) -> Tensor:
            return features[:, :3]

    monkeypatch.setattr(module, "Inception", Means)
    evaluation = evaluate(Pixels(kept), inception=True, inception_weights="there.pth")
    scores = values(evaluation)
    metrics = {"fid", "kid", "inception_score", "precision_inception", "fid_clusters", "kid_reconstructions"}
    assert metrics <= set(scores)
    assert evaluation.scores[0].metric == "frechet_reference", "it adds columns and ranks nothing anew"
    assert "sha256 6726825d" in evaluation.protocol


def test_skip_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Generation(GenerationConfig())
    assert task.skip_reason(DATA, Untrained) == "does not decode or sample"
    assert task.skip_reason(DataSpec(shape=(64,), splits=SIZES), VAE) == "needs images"
    few = DataSpec(shape=(1, 8, 8), splits={"train": 240, "test": 99})
    assert task.skip_reason(few, VAE) == "needs 100 or more items in train and in test"
    assert task.skip_reason(DataSpec(shape=(1, 8, 8), splits={"train": 240}), VAE) is not None
    with_inception = Generation(GenerationConfig(inception=True, inception_weights=str(Path("no", "file.pth"))))
    assert str(with_inception.skip_reason(DATA, VAE)).startswith("Inception needs ")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"items": 99}, r"items must be in \[100, 10000\], got 99"),
        ({"clusters": 0}, "clusters must be >= 1, got 0"),
        ({"cluster_law": "x"}, "cluster_law must be one of"),
    ],
)
def test_parameters_out_of_range_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerationConfig(**config)


def test_key_holds_the_inception_switch_but_not_the_path_of_its_weights() -> None:
    assert plain(GenerationConfig(inception_weights="here")) == plain(GenerationConfig(inception_weights="there"))
    assert plain(GenerationConfig(inception=True)) != plain(GenerationConfig())
