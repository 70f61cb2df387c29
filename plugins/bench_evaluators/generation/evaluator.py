"""Task generation: compare the images that a method draws and reconstructs with its data.

Three kinds of images are made, as many of each as test items are read: samples from the method's own distribution of
latents, samples like the latents of each cluster, and reconstructions of the test items. A method that draws samples
but has no latents of given items (GAN) makes the first kind only. They are compared with the test items in the features
of a reference network and in principal components of pixels (`bench_evaluators.generation.reference_network`), never in
those of the encoder under test; on request by the Inception network, too.

If a split has more items than are read, these are drawn with as many of each class, while samples have the classes'
frequencies in train. So on large unbalanced data even a perfect method does not reach the best possible value.

Source: papers of the measures are named in `bench_evaluators.generation.sample_quality` and
        `bench_evaluators.generation.image_errors`; samples by cluster are U-CTRL's (Tong et al., CPAL 2024,
        https://arxiv.org/abs/2210.16782); the reference network is ours.

Shapes: N images, C channels, H x W pixels, D features, K classes, P latents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from bench_core import (
    MOST_IMAGES,
    Clustering,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Generative,
    Objective,
    Sampling,
    Score,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import draw_index, open_split
from bench_core.evaluation.classification import classes_skip_reason, top_accuracy
from bench_core.evaluation.kmeans import kmeans, nearest_centres
from bench_core.evaluation.other_datasets import as_bytes, colours_skip_reason

from .feature_space import INCEPTION_NAMES, MEASURES, FeatureSpace, Measure
from .image_errors import (
    MOST_SIGNAL_TO_NOISE,
    WINDOW,
    peak_signal_to_noise,
    squared_error,
    structural_similarity,
)
from .inception import FILE, SHA256, Inception, inception_missing_reason
from .reference_network import STEPS, PixelComponents, ReferenceNetwork, train_reference
from .sample_quality import BLOCK, NEIGHBOURS, SPLITS, frechet_distance
from .samples import BATCH, LAWS, ClusterSamples, decode, draw_by_cluster, draw_samples

_LEAST_ITEMS = 100  # fewer are too few to compare 64 features
_MOST_ITEMS = 10_000  # test items, and train items that the reference network, components and k-means are fitted to
_STARTS = 3  # random starts of k-means
_SHOWN, _ROW = 32, 8  # images in a picture, and in one of its rows


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Config):
    """Parameters of the comparison: how many images, which clusters, which networks."""

    items: int = param(
        5_000,
        "number of images of each kind; fewer where test or train has fewer",
        "ours: enough for 64 features",
        ge=_LEAST_ITEMS,
        le=_MOST_ITEMS,
    )
    clusters: int | None = param(
        None,
        "number of k-means clusters for methods without clusters; none uses the number of classes, else 10",
        "ours",
        ge=1,
    )
    inception: bool = param(
        False, "measure FID, KID and the other scores with the Inception network, too", "ours: off, needs its weights"
    )
    inception_weights: str | None = param(
        None,
        f"path of {FILE}; none looks in torch's hub cache",
        "ours: not in the key, its SHA-256 is fixed",
        in_key=False,
    )
    cluster_law: str = param(
        "own",
        "law of the latents of a cluster: the method's own, or one Gaussian, the same sampler for all methods",
        "ours: each method's",
        choices=LAWS,
        added=True,
    )


@dataclass(frozen=True)
class RealImages:
    """Items of a split in random order, the same for all methods and seeds.

    Attributes:
        index: (N,) int64 positions in the split.
        images: (N, C, H, W) uint8.
        labels: (N,) int64, or None.
    """

    index: Tensor
    images: Tensor
    labels: Tensor | None


class Decoded(NamedTuple):
    """Images that a method makes from latents of given items.

    Attributes:
        clusters: Samples like the latents of each cluster.
        cluster_source: Source of the clusters, in words.
        cluster_count: Number of clusters that hold train items.
        copies: (N, C, H, W) uint8, reconstructions of the test items.
    """

    clusters: ClusterSamples
    cluster_source: str
    cluster_count: int
    copies: Tensor


class Generation(Evaluator):
    """Quality of samples and reconstructions.

    Samples, samples drawn for each cluster, and reconstructions are compared with test images in the features of
    networks that are not the method's own. The first score is the Frechet distance (lower is better); precision,
    recall, density, coverage, PSNR and SSIM follow. Needs images, and a method with a decoder (VAE, U-CTRL), or one
    that draws samples (GAN), of which only these are scored.
    """

    Config = GenerationConfig
    revision = 2  # 2: k-means is that of all tasks; inception scores are means of ten splits; density, coverage strict
    family = "generation"

    def __init__(self, config: GenerationConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip methods without samples, data without enough images, and Inception where it is not installed."""
        if not issubclass(objective, Generative | Sampling):
            return "does not decode or sample"
        if not data.is_image:
            return "needs images"
        if min(data.splits.get("test", 0), data.num_train) < _LEAST_ITEMS:
            return f"needs {_LEAST_ITEMS} or more items in train and in test"
        if not self.config.inception:
            return None
        return colours_skip_reason(data) or inception_missing_reason(self.config.inception_weights)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Make images of each kind and compare them with test items."""
        train = _read_images(frozen, "train", _MOST_ITEMS)
        test = _read_images(frozen, "test", min(self.config.items, len(train.index)))
        n = len(test.index)
        method, rng = frozen.method(), stream(frozen.seed, "generation", device=frozen.device)
        samples = draw_samples(cast(Sampling, method), n, rng)
        decoded = self._decoded(method, frozen, train, test, rng) if isinstance(method, Generative) else None

        network = None
        if train.labels is not None and frozen.data.num_classes and not classes_skip_reason(frozen.data):
            network = train_reference(train.images, train.labels, frozen.data.num_classes)
        components = PixelComponents(train.images)
        mean = _mean_image(train.images)
        scores, notes, generated = list[Score](), list[str](), {"": samples}
        if decoded is not None:
            notes.append(f"{decoded.cluster_count} clusters hold train items")
            generated |= {"_clusters": decoded.clusters.images, "_reconstructions": decoded.copies}
        for space in self._spaces(network, components, frozen.device):
            real = space.features(test.images)
            scores += _space_scores(space, real, generated, mean)
            notes.append(_reference_note(space, real, train.images[:n], test.images.shape))
        if network is not None:
            notes.append(f"the reference network is right on {_accuracy(network, test):.1%} of these test items")
        if network is not None and decoded is not None:
            scores.append(_class_purity(network, decoded.clusters))
        if decoded is not None:
            scores += _errors(test.images, decoded.copies, mean.expand_as(decoded.copies))
        return Evaluation(
            scores=scores,
            protocol=self._protocol(n, len(train.index), decoded, network, components.size),
            notes=notes,
            images=_grids(samples, test.images, decoded),
        )

    def _decoded(
        self, method: Objective, frozen: Frozen, train: RealImages, test: RealImages, rng: torch.Generator
    ) -> Decoded:
        """Draw samples like the latents of each cluster of train items, and reconstruct the test items."""
        model = cast(Generative, method)
        latents = frozen.splits["train"].embeddings["latent"][train.index]
        labels, source = self._clusters(method, frozen, latents, train.images)
        clusters = draw_by_cluster(
            model, latents.to(frozen.device), labels, len(test.index), rng, _ROW, self.config.cluster_law
        )
        copies = decode(model, frozen.splits["test"].embeddings["latent"][test.index], frozen.device)
        return Decoded(clusters, source, len(torch.unique(labels)), copies)

    def _clusters(self, method: Objective, frozen: Frozen, latents: Tensor, images: Tensor) -> tuple[Tensor, str]:
        """Return clusters (M,) of train items, and their source in words.

        The method assigns clusters to the images if it has its own; otherwise k-means clusters the latents (M, P).
        """
        if isinstance(method, Clustering):
            batches = open_split(Split(images), frozen.device).batches(BATCH)
            with torch.inference_mode():
                labels = torch.cat([method.assign(batch.inputs)[0].cpu() for batch in batches])
            return labels, "the method's own clusters"
        clusters = min(self.config.clusters or frozen.data.num_classes or 10, len(latents))
        seed = stream_seed(frozen.seed, "generation", "k-means")
        centres = kmeans(latents, clusters, seed=seed, spherical=False, restarts=_STARTS)
        labels = nearest_centres(latents, centres, spherical=False)
        return labels, f"{clusters} clusters of k-means on latents (faiss, Euclidean, {_STARTS} starts)"

    def _spaces(
        self, network: ReferenceNetwork | None, components: PixelComponents, device: torch.device
    ) -> list[FeatureSpace]:
        """List the spaces in which images are compared; scores in the first one rank the methods."""
        spaces = [FeatureSpace(f"pixels_pca{components.size}", components.features, full=network is None)]
        if network is not None:
            spaces.insert(0, FeatureSpace("reference", network.features, network.logits))
        if self.config.inception:
            inception = Inception(self.config.inception_weights, device)
            spaces.append(FeatureSpace("inception", inception.features, inception.logits, metrics=INCEPTION_NAMES))
        return spaces

    def _protocol(
        self, n: int, fitted: int, decoded: Decoded | None, network: ReferenceNetwork | None, components: int
    ) -> str:
        """Write the protocol in one line.

        Args:
            n: Number of images of each kind.
            fitted: Number of train items to which network and components are fitted.
            decoded: Images made from latents, if the method decodes.
            network: The reference network, if there is one.
            components: Number of principal components.
        """
        spaces = [f"{components} principal components of their pixels"]
        if network is not None:
            spaces.insert(
                0,
                f"64 features of a small network trained on them with labels ({STEPS} steps, one seed, sha256 "
                f"{network.digest()})",
            )
        if self.config.inception:
            spaces.append(f"Inception of 2015 (sha256 {SHA256[:8]}, torch-fidelity's resizing)")
        others = ssim = ""
        law = ""
        if self.config.cluster_law == "gaussian":
            law = "; latents drawn from one Gaussian for each, for all methods"
        if decoded is not None:
            others = (
                f", {n:,} like the latents of each cluster ({decoded.cluster_source} of train items, as often as they "
                f"are there{law}), and reconstructions of these very items"
            )
            ssim = f"ssim: windows of {WINDOW} x {WINDOW}; "
        return (
            f"{n:,} test items against {n:,} samples of the method's own law of latents{others}; all of 8 bits; fitted "
            f"to {fitted:,} train items: {', '.join(spaces)}; kernel: unbiased, cubic, blocks of {min(BLOCK, n):,}; "
            f"inception score: mean of {SPLITS} splits; precision, recall: {NEIGHBOURS} neighbours, edge inside; "
            f"density, coverage: the same, edge outside; {ssim}chance: the mean train image, each time"
        )


def _read_images(frozen: Frozen, name: str, most: int) -> RealImages:
    """Read at most this many items of a split, balanced over classes; float images are rounded to 256 levels."""
    split = frozen.inputs(name)
    index = draw_index(split.labels, len(split), min(most, len(split)))
    index = index[torch.randperm(len(index), generator=stream(0, "generation", name))]
    images = as_bytes(split.read(index))
    return RealImages(index, images, None if split.labels is None else split.labels[index])


def _mean_image(images: Tensor) -> Tensor:
    """Return the mean image (1, C, H, W) uint8; sums over batches, as float copies of all images may be large."""
    total = torch.stack([part.double().sum(0) for part in torch.split(images, BATCH)]).sum(0, keepdim=True)
    return (total / len(images)).round().to(torch.uint8)


def _space_scores(
    space: FeatureSpace, real: Tensor, generated: Mapping[str, Tensor], mean_image: Tensor
) -> list[Score]:
    """Score each kind of generated images in one space.

    Args:
        space: The space in which images are compared.
        real: (N, D) features of the test images.
        generated: Suffix of the metrics -> images (N, C, H, W) of one kind.
        mean_image: (1, C, H, W); the chance level is N copies of it.
    """
    scores = []
    chance = space.distances(real, space.features(mean_image).expand(len(real), -1))
    for kind, images in generated.items():
        measure = space.distances if kind == "_reconstructions" else space.measures
        for name, value in measure(real, space.features(images)).items():
            scores.append(_score(space.metric(name) + kind, value, MEASURES[name], chance.get(name), len(real)))
    return scores


def _reference_note(space: FeatureSpace, real: Tensor, train_images: Tensor, shape: tuple[int, ...]) -> str:
    """Write the values that train images, as if they were samples, and uniform noise get in one space."""
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=stream(0, "generation", "noise"))
    floor = space.measures(real, space.features(train_images))
    values = ", ".join(f"{space.metric(name)} {value:.3g}" for name, value in floor.items())
    noise_distance = frechet_distance(real, space.features(noise))
    return f"train images as samples: {values}; uniform noise: {space.metric('frechet')} {noise_distance:.3g}"


def _accuracy(network: ReferenceNetwork, test: RealImages) -> float:
    """Return the accuracy of the reference network on the test items."""
    assert test.labels is not None, "the data has classes"
    return top_accuracy(network.logits(network.features(test.images)), test.labels)


def _score(metric: str, value: float, measure: Measure, chance: float | None, n: int) -> Score:
    return Score(
        metric=metric, value=value, unit=measure.unit, higher_is_better=measure.higher_is_better, chance=chance,
        best=measure.best, embedding="latent", n=n,
    )  # fmt: skip


def _class_purity(network: ReferenceNetwork, samples: ClusterSamples) -> Score:
    """Score the part of samples that have the most frequent class of their cluster, by the reference network.

    Chance is the part of the most frequent class of all samples: that of a single cluster.
    """
    classes = network.logits(network.features(samples.images)).argmax(1)
    table = torch.zeros(int(samples.clusters.max()) + 1, int(classes.max()) + 1)
    table.index_put_((samples.clusters, classes), torch.ones(()), accumulate=True)
    purity, one_cluster = float(table.amax(1).sum()) / len(classes), float(table.sum(0).max()) / len(classes)
    return _score("class_purity_clusters", purity, Measure("fraction", True), one_cluster, len(classes))


def _errors(images: Tensor, copies: Tensor, constant: Tensor) -> list[Score]:
    """Score the errors of reconstructions, mean over images; chance is that of one constant image for all."""
    measures = {
        "mse": (squared_error, Measure("square", False, 0.0)),
        "psnr": (lambda x, y: peak_signal_to_noise(squared_error(x, y)), Measure("dB", True, MOST_SIGNAL_TO_NOISE)),
        "ssim": (structural_similarity, Measure("similarity", True, 1.0)),
    }
    if min(images.shape[2:]) < WINDOW:
        del measures["ssim"]
    scores = []
    for name, (error, measure) in measures.items():
        value, chance = _mean_over(error, images, copies), _mean_over(error, images, constant)
        scores.append(_score(f"{name}_reconstructions", value, measure, chance, len(images)))
    return scores


def _mean_over(measure: Callable[[Tensor, Tensor], Tensor], images: Tensor, copies: Tensor) -> float:
    """Return the mean of a measure over pairs of uint8 images, in batches."""
    pairs = zip(torch.split(images, BATCH), torch.split(copies, BATCH), strict=True)
    return float(torch.cat([measure(x.float() / 255, y.float() / 255) for x, y in pairs]).double().mean())


def _grids(samples: Tensor, real: Tensor, decoded: Decoded | None) -> dict[str, Tensor]:
    """Return pictures of rows of eight: samples; real images above their reconstructions; a row for each cluster."""
    if samples.shape[1] not in (1, 3):
        return {}
    if decoded is None:
        return {"samples": samples[:_SHOWN]}
    pairs = []
    for start in range(0, _SHOWN // 2, _ROW):
        pairs += [real[start : start + _ROW], decoded.copies[start : start + _ROW]]
    return {
        "samples": samples[:_SHOWN],
        "reconstructions": torch.cat(pairs),
        "clusters": decoded.clusters.rows[:MOST_IMAGES],
    }


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"generation": Generation}
