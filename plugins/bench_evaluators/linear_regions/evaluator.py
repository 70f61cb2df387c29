"""Task linear_regions: count the linear regions into which an encoder's ReLUs divide the space of its inputs.

NAC's authors claim that noise-robust activation codes give an encoder more linear regions. More regions are no quality
by themselves: an untrained network may have more than a trained one.

The number of distinct activation patterns of all units cannot exceed the number of items. So methods are ranked by the
number of breakpoints between two items, which has no such limit: each breakpoint is a step into another region. Only
one random part of each segment is examined; its breakpoints times the number of parts estimate those of the whole
segment without bias.

Papers: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014 (the claim); Hanin and Rolnick, ICML 2019,
        https://arxiv.org/abs/1901.09021 (counting along lines)
Shapes: N items, U ReLU units of all layers, S segments.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param, stream
from bench_core.data import draw_index, open_split, take
from bench_core.evaluation.sign_patterns import count_distinct, mean_hamming, on_rates, pattern_entropy

from .breakpoints import Breakpoints, breakpoints, record_switches, relus

FEW = 16  # patterns of so few units of the last layer of ReLUs are counted, too; the metric's name has the number


@dataclass(frozen=True, kw_only=True)
class LinearRegionsConfig(Config):
    """Parameters of the count: items, segments and their parts."""

    items: int = param(
        1000, "maximal number of test items whose activation patterns are compared", "ours: seconds", ge=2
    )
    segments: int = param(
        64, "number of random pairs of test items between which breakpoints are counted", "ours: seconds", ge=2
    )
    parts: int | None = param(
        None,
        "number of equal parts of a segment, of which one is examined; none uses the number of ReLU units / 128",
        "ours: seconds",
        ge=1,
    )
    draws: int = param(32, f"number of random choices of {FEW} units, averaged", "ours", ge=1)


class LinearRegions(Evaluator):
    """Number of linear regions of the encoder.

    An encoder with ReLUs is linear within a region of its input space. The first score is the number of region
    borders (breakpoints) on a straight line between two test images; counts of distinct activation patterns follow.
    More regions are what NAC claims, and no quality by itself. Needs a test split of images.
    """

    Config = LinearRegionsConfig
    ranks = False

    def __init__(self, config: LinearRegionsConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without images, or with fewer than two test images."""
        if not data.is_image:
            return "needs images"
        return None if data.splits.get("test", 0) >= 2 else "needs a test split of 2 items or more"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Count activation patterns of test images, and breakpoints on segments between them."""
        config = self.config
        encoder = frozen.method().encoder.double()
        split = frozen.inputs("test")
        n = min(config.items, len(split))
        items = take(split, draw_index(None, len(split), n))
        images = torch.cat([batch.inputs for batch in open_split(items, frozen.device).batches(256)]).double()
        bits = torch.cat([_bits(encoder, batch) for batch in torch.split(images, 256)])
        relu_layers = relus(record_switches(encoder, images[:1]))
        last_units = int(relu_layers[-1].shape[1]) if relu_layers else 0
        units = bits.shape[1]
        parts = config.parts or max(1, math.ceil(units / 128))
        segments = self._segments(encoder, images, parts, frozen.seed)
        counts = [parts * float(len(segment.times)) for segment in segments]
        scores = [Score(metric="breakpoints", value=fmean(counts), unit="count", chance=0.0, n=len(counts))]
        scores += self._patterns(bits, last_units, frozen.seed)
        code = frozen.splits["test"].embeddings.get("code")
        if code is not None:
            scores.append(
                Score(metric="distinct_codes", value=float(count_distinct(code.bool())), unit="count", chance=1.0,
                      embedding="code", n=len(code))
            )  # fmt: skip
        return Evaluation(
            scores=scores,
            protocol=(
                "ReLU units of the encoder, without head, in float64; breakpoints: places where one of them or more "
                "switches on the straight line between two test items, exact (max-pools are followed, not counted), "
                f"mean of {config.segments} random pairs, of each a random part (1 of {config.parts or 'units / 128'}) "
                f"times the number of parts; patterns: which units are on, on {n:,} test items, seeded; few units: "
                f"{FEW} of the last layer of ReLUs, mean of {config.draws} draws; more regions is NAC's claim, no "
                "quality by itself"
            ),
            notes=[_size_note(units, parts, counts)],
            curves=_by_layer(segments, parts),
        )

    def _segments(
        self, encoder: Callable[[Tensor], Tensor], images: Tensor, parts: int, seed: int
    ) -> list[Breakpoints]:
        """Find the breakpoints of one part of each segment; a seed draws the same pairs and parts for all methods."""
        rng = stream(seed, "linear_regions", "segments")
        segments = []
        for _ in range(self.config.segments):
            first, second = images[torch.randperm(len(images), generator=rng)[:2]]
            part = int(torch.randint(parts, (), generator=rng))
            start, end = torch.lerp(first, second, part / parts), torch.lerp(first, second, (part + 1) / parts)
            segments.append(breakpoints(encoder, start, end))
        return segments

    def _patterns(self, bits: Tensor, last_units: int, seed: int) -> list[Score]:
        """Score the activation patterns.

        Args:
            bits: (N, U) bool, which units are on; the last layer's units come last.
            last_units: Number of units of the last layer.
            seed: Seed of the run.
        """
        n, units = bits.shape
        distinct = count_distinct(bits)
        measured: dict[str, tuple[float, str, float | None]] = {
            "distinct_patterns": (float(distinct), "count", 1.0),
            "distinct_ratio": (distinct / n, "fraction", 1 / n),
            "pattern_entropy": (pattern_entropy(bits), "nats", 0.0),
        }
        if units:
            rng = stream(seed, "linear_regions", "units")
            few = []
            for _ in range(self.config.draws):
                columns = units - last_units + torch.randperm(last_units, generator=rng)[:FEW]
                few.append(count_distinct(bits[:, columns]))
            rates = on_rates(bits)
            measured[f"distinct_patterns_{FEW}_units"] = (fmean(few), "count", 1.0)
            measured["hamming"] = (mean_hamming(bits), "fraction", 0.0)
            measured["switching_units"] = (float(((rates > 0) & (rates < 1)).double().mean()), "fraction", 0.0)
            measured["on_rate"] = (float(rates.mean()), "fraction", None)
        return [
            Score(metric=metric, value=value, unit=unit, chance=chance, n=n)
            for metric, (value, unit, chance) in measured.items()
        ]


def _bits(encoder: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return which ReLU units are on for each image, (N, U) bool on the CPU, shallow to deep."""
    on = [values > 0 for values in relus(record_switches(encoder, images))]
    return torch.cat([torch.zeros(len(images), 0, dtype=torch.bool, device=images.device), *on], 1).cpu()


def _size_note(units: int, parts: int, counts: list[float]) -> str:
    """Write the size of the network, and the standard error of the number of breakpoints."""
    if units == 0:
        return "has no ReLU units: one region, no breakpoints"
    error = stdev(counts) / math.sqrt(len(counts))
    return f"{units:,} ReLU units; segments in {parts} parts; breakpoints: standard error {error:.1f} over segments"


def _by_layer(segments: list[Breakpoints], parts: int) -> dict[str, dict[str, list[float]]]:
    """Return the curve of mean switches on a segment over layers of ReLUs, shallow to deep; {} without ReLUs."""
    means = [parts * fmean(layer) for layer in zip(*(segment.by_layer for segment in segments), strict=True)]
    layers = [float(k) for k in range(1, len(means) + 1)]
    return {"switches_by_layer": {"layer": layers, "switches": means}} if means else {}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"linear_regions": LinearRegions}
