"""Generation: whether what a method decodes and draws looks like its data.

Three kinds of images are made, as many of each as there are test items: samples from the method's own law of latents,
samples like the latents of each cluster, and reconstructions of the test items. They are compared with the test items
in the features of a reference network and in principal components of pixels
(`bench_evaluators.generation.reference_network`), never in
those of the encoder under test; on request by the Inception network, too.

Where a split has more items than are read, those are drawn with as many of each class, while samples have the classes'
shares of train: on unbalanced data of such a size a faithful method is not at the floor.

Source: papers of the measures are named in `bench_evaluators.generation.sample_quality` and
`bench_evaluators.generation.image_errors`; samples by
        cluster are U-CTRL's (Tong et al., CPAL 2024, https://arxiv.org/abs/2210.16782); the reference network is ours.

Shapes: N images, C channels, H x W pixels, D features, K classes, P latents.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from threadpoolctl import threadpool_limits
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
    Score,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import draw_index, open_split
from bench_core.evaluation.classification import top_accuracy, why_no_classes

from .feature_space import INCEPTION_NAMES, MEASURES, Extractor
from .image_errors import (
    WINDOW,
    peak_signal_to_noise,
    squared_error,
    structural_similarity,
)
from .inception import FILE, SHA256, Inception, why_no_inception
from .reference_network import STEPS, PixelComponents, ReferenceNetwork, train_reference
from .sample_quality import BLOCK, NEIGHBOURS, frechet_distance
from .samples import BATCH, ByCluster, decoded, sampled, sampled_by_cluster

_LEAST_ITEMS = 100  # items: fewer say nothing about 64 features
_MOST_ITEMS = 10_000  # items; also of those that the reference network, the components and k-means are fitted to
_SHOWN, _ROW = 32, 8  # images of a grid, and of its rows


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


@dataclass(frozen=True)
class Real:
    """Items of a split in random order, the same for all chains: which (N,), images (N, C, H, W) uint8, labels."""

    index: Tensor
    images: Tensor
    labels: Tensor | None


class Generation(Evaluator):
    """Quality of samples and reconstructions.

    Samples, samples drawn for each cluster, and reconstructions are compared with test images in the features of
    networks that are not the method's own. The first score is the Frechet distance (lower is better); precision,
    recall, density, coverage, PSNR and SSIM follow. Needs images, and a method with a decoder (VAE, U-CTRL).
    """

    Config = GenerationConfig

    def __init__(self, config: GenerationConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Methods with a decoder, enough images, and Inception where it is asked for."""
        if not issubclass(objective, Generative):
            return "does not decode or sample"
        if not data.is_image:
            return "needs images"
        if min(data.splits.get("test", 0), data.num_train) < _LEAST_ITEMS:
            return f"needs {_LEAST_ITEMS} or more items in train and in test"
        return why_no_inception(self.config.inception_weights) if self.config.inception else None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Make images of each kind and compare them with test items."""
        train = _real(frozen, "train", _MOST_ITEMS)
        test = _real(frozen, "test", min(self.config.items, len(train.index)))
        n = len(test.index)
        method, rng = frozen.method(), stream(frozen.seed, "generation", device=frozen.device)
        model = cast(Generative, method)
        latents = frozen.splits["train"].embeddings["latent"][train.index]
        labels, found_by = self._clusters(method, frozen, latents, train.images)
        samples = sampled(model, n, rng)
        drawn = sampled_by_cluster(model, latents.to(frozen.device), labels, n, rng, across=_ROW)
        copies = decoded(model, frozen.splits["test"].embeddings["latent"][test.index], frozen.device)

        network = None
        if train.labels is not None and frozen.data.num_classes and not why_no_classes(frozen.data):
            network = train_reference(train.images, train.labels, frozen.data.num_classes)
        components = PixelComponents(train.images)
        extractors = self._extractors(network, components, frozen.device)
        mean = _mean_image(train.images)
        noise = torch.randint(0, 256, test.images.shape, dtype=torch.uint8, generator=stream(0, "generation", "noise"))
        scores, notes = list[Score](), [f"{len(torch.unique(labels))} clusters hold train items"]
        for extractor in extractors:
            real = extractor.features(test.images)
            least = extractor.distances(real, extractor.features(mean).expand(n, -1))
            for kind, images in (("", samples), ("_clusters", drawn.images), ("_reconstructions", copies)):
                measure = extractor.distances if kind == "_reconstructions" else extractor.measures
                for name, value in measure(real, extractor.features(images)).items():
                    scores.append(_score(extractor.metric(name) + kind, value, *MEASURES[name], least.get(name), n))
            floor = extractor.measures(real, extractor.features(train.images[:n]))
            said = ", ".join(f"{extractor.metric(name)} {value:.3g}" for name, value in floor.items())
            far = frechet_distance(real, extractor.features(noise))
            notes.append(f"train images as samples: {said}; uniform noise: {extractor.metric('frechet')} {far:.3g}")
        if network is not None:
            notes.append(f"the reference network is right on {_accuracy(network, test):.1%} of these test items")
            scores.append(_class_purity(network, drawn))
        scores += _errors(test.images, copies, mean.expand_as(copies))
        return Evaluation(
            scores=scores,
            protocol=self._protocol(n, len(train.index), found_by, network, components.size),
            notes=notes,
            images=_grids(samples, test.images, copies, drawn.rows),
        )

    def _clusters(self, method: Objective, frozen: Frozen, latents: Tensor, images: Tensor) -> tuple[Tensor, str]:
        """Clusters (M,) of train items by their latents (M, P) or images, and where they come from."""
        if isinstance(method, Clustering):
            batches = open_split(Split(images), frozen.device).batches(BATCH)
            with torch.inference_mode():
                labels = torch.cat([method.assign(batch.inputs)[0].cpu() for batch in batches])
            return labels, "the method's own clusters"
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        clusters = min(self.config.clusters or frozen.data.num_classes or 10, len(latents))
        found = KMeans(clusters, n_init=3, random_state=stream_seed(frozen.seed, "generation", "k-means") % 2**32)
        with warnings.catch_warnings(), threadpool_limits(1):  # one thread: a seed has one answer
            warnings.simplefilter("ignore", ConvergenceWarning)  # latents that are all the same
            labels = torch.from_numpy(found.fit_predict(latents.numpy())).long()
        return labels, f"{clusters} clusters of k-means on latents"

    def _extractors(
        self, network: ReferenceNetwork | None, components: PixelComponents, device: torch.device
    ) -> list[Extractor]:
        """Those that there are; the first ranks the methods."""
        found = [Extractor(f"pixels_pca{components.size}", components.features, full=network is None)]
        if network is not None:
            found.insert(0, Extractor("reference", network.features, network.logits))
        if self.config.inception:
            inception = Inception(self.config.inception_weights, device)
            found.append(Extractor("inception", inception.features, inception.logits, metrics=INCEPTION_NAMES))
        return found

    def _protocol(self, n: int, fitted: int, found_by: str, network: ReferenceNetwork | None, components: int) -> str:
        """The protocol in one line."""
        judges = [f"{components} principal components of their pixels"]
        if network is not None:
            judges.insert(
                0,
                f"64 features of a small network trained on them with labels ({STEPS} steps, one seed, sha256 "
                f"{network.digest()})",
            )
        if self.config.inception:
            judges.append(f"Inception of 2015 (sha256 {SHA256[:8]}, torch-fidelity's resizing)")
        return (
            f"{n:,} test items against {n:,} samples of the method's own law of latents, {n:,} like the latents of "
            f"each cluster ({found_by} of train items, as often as they are there), and reconstructions of these very "
            f"items; all of 8 bits; fitted to {fitted:,} train items: {', '.join(judges)}; kernel: unbiased, cubic, "
            f"blocks of {min(BLOCK, n):,}; precision, recall, density, coverage: {NEIGHBOURS} neighbours; ssim: "
            f"windows of {WINDOW} x {WINDOW}; chance: the mean train image, each time"
        )


def _real(frozen: Frozen, name: str, most: int) -> Real:
    """At most that many items of a split, balanced over classes."""
    split = frozen.inputs(name)
    index = draw_index(split.labels, len(split), min(most, len(split)))
    index = index[torch.randperm(len(index), generator=stream(0, "generation", name))]
    images = split.inputs[index] if isinstance(split.inputs, Tensor) else split.inputs.read(index)
    return Real(index, images, None if split.labels is None else split.labels[index])


def _mean_image(images: Tensor) -> Tensor:
    """(1, C, H, W) uint8, summed in batches: float copies of all images may be large."""
    total = torch.stack([part.double().sum(0) for part in torch.split(images, BATCH)]).sum(0, keepdim=True)
    return (total / len(images)).round().to(torch.uint8)


def _accuracy(network: ReferenceNetwork, test: Real) -> float:
    assert test.labels is not None, "the data has classes"
    return top_accuracy(network.logits(network.features(test.images)), test.labels)


def _score(metric: str, value: float, unit: str, higher: bool, chance: float | None, n: int) -> Score:
    return Score(metric=metric, value=value, unit=unit, higher_is_better=higher, chance=chance, embedding="latent", n=n)


def _class_purity(network: ReferenceNetwork, drawn: ByCluster) -> Score:
    """Part of the samples by cluster that have, by the reference network, their cluster's most frequent class."""
    classes = network.logits(network.features(drawn.images)).argmax(1)
    table = torch.zeros(int(drawn.clusters.max()) + 1, int(classes.max()) + 1)
    table.index_put_((drawn.clusters, classes), torch.ones(()), accumulate=True)
    purity, alone = float(table.amax(1).sum()) / len(classes), float(table.sum(0).max()) / len(classes)
    return _score("class_purity_clusters", purity, "fraction", True, alone, len(classes))


def _errors(images: Tensor, copies: Tensor, constant: Tensor) -> list[Score]:
    """Of reconstructions, mean over images; chance is that of one image for all."""
    what = {
        "mse": (squared_error, "square", False),
        "psnr": (lambda x, y: peak_signal_to_noise(squared_error(x, y)), "dB", True),
        "ssim": (structural_similarity, "similarity", True),
    }
    if min(images.shape[2:]) < WINDOW:
        del what["ssim"]
    found = []
    for name, (measure, unit, higher) in what.items():
        value, chance = (_mean_over(measure, images, made) for made in (copies, constant))
        found.append(_score(f"{name}_reconstructions", value, unit, higher, chance, len(images)))
    return found


def _mean_over(measure: Callable[[Tensor, Tensor], Tensor], images: Tensor, made: Tensor) -> float:
    """The mean of what is measured on each pair of uint8 images, in batches."""
    pairs = zip(torch.split(images, BATCH), torch.split(made, BATCH), strict=True)
    return float(torch.cat([measure(x.float() / 255, y.float() / 255) for x, y in pairs]).double().mean())


def _grids(samples: Tensor, real: Tensor, copies: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """Rows of eight: samples; real images above their reconstructions; a row for each of the first clusters."""
    if samples.shape[1] not in (1, 3):
        return {}
    pairs = [half for at in range(0, _SHOWN // 2, _ROW) for half in (real[at : at + _ROW], copies[at : at + _ROW])]
    return {"samples": samples[:_SHOWN], "reconstructions": torch.cat(pairs), "clusters": rows[:MOST_IMAGES]}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"generation": Generation}
