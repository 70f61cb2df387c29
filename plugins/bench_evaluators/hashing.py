"""Task hashing: search for items of the same class by binary codes: a method's own, and ITQ's of its features.

An example with `code_lengths = (32, 16)`: NAC, whose code has 32 bits, ranks by that code. VAE has no code and ranks by
ITQ's code of 32 bits, marked as not learned. A method with a code of 256 bits shows its number and does not rank.
For every method ITQ, PCAH and LSH codes of 32 and of 16 bits stand beside: a network that learns to hash is worth its
training if its code finds more than ITQ's code of the same network's features. Sorting by cosine is the reference
without quantisation: the gap to it is what quantising loses.

ITQ, PCAH and LSH are learned on the train split, without its labels. The database is ranked by Hamming distance; tied
items count by their expectation over random orders.

Paper:  Gong, Lazebnik, "Iterative quantization: a Procrustean approach to learning binary codes", CVPR 2011; on LSH see
        `bench_core.evaluation.hash_codes`, on ties `bench_core.evaluation.ranking`.

Shapes: Q queries, N items of the database, B bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean

import torch
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    PerItem,
    Score,
    hookimpl,
    param,
    stream,
)
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.hash_codes import (
    ITERATIONS,
    LinearHash,
    bit_correlation,
    bit_entropy,
    bit_imbalance,
    itq,
    lsh,
    pcah,
)
from bench_core.evaluation.nearest_neighbours import top_k_hamming
from bench_core.evaluation.ranking import (
    ball_precision_recall,
    expected_average_precision,
    expected_precision,
    list_average_precision,
)
from bench_core.evaluation.retrieval import (
    SearchSet,
    chance,
    cosine_average_precision,
    listed_relevance,
    no_relevant_note,
    read_search_set,
    retrieval_skip_reason,
    split_names,
)
from bench_core.evaluation.rows import as_features
from bench_core.evaluation.sign_patterns import count_distinct

RADIUS = 2  # Hamming radius of the ball in which precision is measured
LONGEST_COMPARED = 256  # bits; ITQ of more takes many minutes
_COUNTS = 2**22  # numbers of a histogram of distances held at once: 32 MiB; a code of 2,048 bits has 4,098 a query
STATISTICS = {
    "distinct_codes": ("count", True),
    "bit_entropy": ("bits", True),
    "bit_imbalance": ("fraction", False),
    "bit_correlation": ("correlation", False),
    f"empty_radius_{RADIUS}": ("fraction", False),
    f"precision_radius_{RADIUS}": ("fraction", True),
}  # metric of a code -> unit, and whether higher is better
Codes = tuple[Tensor, Tensor]  # (Q, B) of the queries and (N, B) of the database, bool
Source = tuple[str, int]  # "code" (the method's own), "itq", "pcah" or "lsh", and the number of bits


@dataclass(frozen=True, kw_only=True)
class HashingConfig(Config):
    """Parameters of the search: embedding, code lengths, numbers of items and of draws."""

    embedding: str = param(
        "features", "name of the embedding that ITQ, PCAH and LSH hash, and that cosine ranks", "usual"
    )
    code_lengths: tuple[int, ...] = param(
        (32, 16, 64),
        "code lengths in bits; methods are ranked by codes of the first",
        "usual in hashing papers",
        ge=1,
    )
    k: int = param(1000, "ranks that mAP@k and P@k count; at most all items", "DeepBit, BiHalf: mAP@1000", ge=1)
    num_queries: int = param(
        2000, "maximal number of queries, drawn evenly from the classes", "ours: twenty codes are ranked", ge=1
    )
    num_database: int | None = param(
        None, "number of items that are searched, drawn evenly from the classes; none uses all", "ours", ge=1
    )
    lsh_draws: int = param(
        5, "number of random projections that LSH's scores are means of", "ours: one draw is off by points", ge=1
    )

    def __post_init__(self) -> None:
        """Check ranges, and that there are code lengths and none is given twice."""
        super().__post_init__()
        if not self.code_lengths or len(set(self.code_lengths)) < len(self.code_lengths):
            raise ValueError(f"code_lengths must be one or more different numbers, got {self.code_lengths}")


@dataclass(frozen=True)
class CodeResult:
    """Results of the search with one code.

    Attributes:
        precisions: (Q,) average precision of each query over the whole database.
        precisions_at_k: (Q,) the same, of the first k ranks.
        hits_at_k: (Q,) part of the first k that is relevant.
        recall: (B + 1,) recall of all items within radius 0, ..., B, a mean over queries.
        precision: (B + 1,) precision of the same.
        statistics: Metric in `STATISTICS` -> value.
    """

    precisions: Tensor
    precisions_at_k: Tensor
    hits_at_k: Tensor
    recall: Tensor
    precision: Tensor
    statistics: Mapping[str, float]


class Hashing(Evaluator):
    """Search by binary codes: own, ITQ, PCAH, LSH.

    The database is ranked for each query by Hamming distance of codes. The first score is mAP by the method's own code,
    or by an ITQ code of its features where it has none; a method whose code has another length than the first of
    `code_lengths` does not rank. `code_minus_itq` is what the own code gains over ITQ at the same length. Further
    scores tell how well the code uses its bits. Needs labels (one or several an item), and the splits `query` and
    `database`, or else `test` and `train`.
    """

    Config = HashingConfig
    revision = 2  # 2: a method's own code ranks where it has one; LSH's scores are means of several draws
    family = "retrieval"

    def __init__(self, config: HashingConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without labels, without one of the two splits, or with a smaller database than the config wants."""
        return retrieval_skip_reason(data, (None, self.config.num_database))

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Rank the database for each query by the method's own code, and by ITQ, PCAH and LSH of each length."""
        config, names = self.config, split_names(frozen.splits)
        count = min(config.num_queries, frozen.data.splits[names[0]])
        queries = read_search_set(frozen, names[0], config.embedding, count)
        database = read_search_set(frozen, names[1], config.embedding, config.num_database)
        k = min(config.k, len(database))
        own = None if queries.code is None or database.code is None else (queries.code, database.code)
        hashes = self._hashes(frozen, self._lengths(own))
        codes = {source: _hashed(draws, queries, database) for source, draws in hashes.items()}
        shown = "itq", config.code_lengths[0]  # the code of the first score
        if own is not None:
            shown = "code", own[0].shape[1]
            codes[shown] = [own]
        results = {
            source: _mean([search(code, queries, database, k, frozen.device) for code in draws])
            for source, draws in codes.items()
        }
        cosine = cosine_average_precision(queries, database, frozen.device)
        hits, relevant = listed_relevance(queries, database, top_k_hamming(*codes[shown][0], k)[1])
        floor = chance(relevant, len(database), k)
        dims = queries.features.shape[1]
        first, *others = self._scores_of_shown(
            results, shown, list_average_precision(hits, hits.sum(1)), floor, k, len(database)
        )
        return Evaluation(
            scores=[first, *self._references(results, cosine, floor["map"]), *others],
            protocol=(
                f"{len(queries):,} queries of {names[0]} against {len(database):,} items of {names[1]}; relevant: "
                f"{'same class' if queries.labels.ndim == 1 else 'a label in common'}; map_code and what follows from "
                f"it: the method's own code, else ITQ of {config.embedding}; codes of {config.code_lengths[0]} bits "
                f"rank; mAP@all unless at k={k}: divided by min(R, k), over_hits: by the hits among the k, ties in the "
                "order of a seeded shuffle; other Hamming ties: expectation over random order; ITQ "
                f"({ITERATIONS} iterations), PCAH and LSH (mean of {config.lsh_draws} draws) of {config.embedding}, "
                f"centred, all learned on train without labels; an empty ball of radius {RADIUS} has precision 0; bit "
                "statistics: of the database; queries without a relevant item count as 0; PR curve: mean over "
                "queries; chance: a constant code"
            ),
            notes=[
                *([f"k capped at {k:,}, the size of the database (asked: {config.k:,})"] if k < config.k else []),
                *no_relevant_note(queries, database),
                *(
                    f"{bits} bits of {dims} dimensions: PCAH's others are constant"
                    for source, bits in hashes
                    if source == "pcah" and bits > dims
                ),
            ],
            curves={
                f"pr_{shown[1]}_bits": {
                    "recall": results[shown].recall.tolist(),
                    "precision": results[shown].precision.tolist(),
                },
                **_curves(results),
            },
            items={"map_code": PerItem(results[shown].precisions, names[0], queries.index)},
        )

    def _lengths(self, own: Codes | None) -> list[int]:
        """Return the lengths of ITQ, PCAH and LSH: those asked for, and that of the own code unless it is very long."""
        lengths = list(self.config.code_lengths)
        if own is not None and own[0].shape[1] not in lengths and own[0].shape[1] <= LONGEST_COMPARED:
            lengths.append(own[0].shape[1])
        return lengths

    def _hashes(self, frozen: Frozen, lengths: Sequence[int]) -> Mapping[Source, list[LinearHash]]:
        """Learn hash functions on the train split: several by LSH of each length, one by each other."""
        train = as_features(embedding_of(frozen.splits["train"], self.config.embedding).float(), memory=frozen.memory)
        hashes: dict[Source, list[LinearHash]] = {}
        for bits in lengths:
            hashes["itq", bits] = [itq(train, bits, stream(frozen.seed, "hashing", "itq", str(bits)))]
            hashes["pcah", bits] = [pcah(train, bits)]
            rng = stream(frozen.seed, "hashing", "lsh", str(bits))
            hashes["lsh", bits] = [lsh(train, bits, rng) for _ in range(self.config.lsh_draws)]
        return hashes

    def _references(self, results: Mapping[Source, CodeResult], cosine: Tensor, floor: float) -> list[Score]:
        """Return the mAP of ITQ of the first length, of cosine, and of the other codes that are not the method's own.

        Args:
            results: Results by source and length.
            cosine: (Q,) average precision of each query by cosine.
            floor: mAP of a constant code.
        """

        def score(metric: str, values: Tensor, embedding: str) -> Score:
            return Score(metric=metric, value=float(values.mean()), chance=floor, embedding=embedding, n=len(values))

        first, *others = (
            score(f"map_{source}_{bits}_bits", result.precisions, self._embedding_name(source))
            for (source, bits), result in results.items()
            if source != "code"
        )
        return [first, score("map_cosine", cosine, self.config.embedding), *others]

    def _scores_of_shown(
        self,
        results: Mapping[Source, CodeResult],
        shown: Source,
        over_hits: Tensor,
        floor: Mapping[str, float],
        k: int,
        size: int,
    ) -> list[Score]:
        """Return the scores of the code that ranks the method, or would if it had the first length; mAP first.

        Args:
            results: Results by source and length.
            shown: The code.
            over_hits: (Q,) average precision of the first k ranks, divided by the hits among them.
            floor: mAP, mAP at k and precision of a constant code.
            k: Ranks that count in measures at k.
            size: Number of items in the database.
        """
        (source, bits), rank_bits, result = shown, self.config.code_lengths[0], results[shown]
        ranks, caveat = bits == rank_bits, "" if bits == rank_bits else f"a code of {bits} bits; {rank_bits} rank"
        if source != "code":
            caveat = f"by ITQ of {self.config.embedding}, not learned"

        def score(
            metric: str, value: float, n: int, unit: str = "fraction", higher: bool = True, level: float | None = None
        ) -> Score:
            return Score(
                metric=metric, value=value, unit=unit, higher_is_better=higher, chance=level,
                embedding=self._embedding_name(source), n=n, ranks=ranks, caveat=caveat,
            )  # fmt: skip

        queries = len(result.precisions)
        scores = [
            score("map_code", float(result.precisions.mean()), queries, level=floor["map"]),
            score(f"map_code_at_{k}", float(result.precisions_at_k.mean()), queries, level=floor["map_at_k"]),
            score(f"map_code_at_{k}_over_hits", float(over_hits.mean()), queries),
            score(f"precision_code_at_{k}", float(result.hits_at_k.mean()), queries, level=floor["precision"]),
        ]
        if source == "code" and ("itq", bits) in results:
            gain = float((result.precisions - results["itq", bits].precisions).mean())
            scores.append(score("code_minus_itq", gain, queries, "difference"))
        for metric, (unit, higher) in STATISTICS.items():
            count = queries if "radius" in metric else size
            scores.append(score(metric, result.statistics[metric], count, unit, higher))
        return [*scores, score("code_bits", bits, size, "count")]

    def _embedding_name(self, source: str) -> str:
        """Return what a score of a code names as its embedding: "code", or "itq(features)"."""
        return "code" if source == "code" else f"{source}({self.config.embedding})"


def search(codes: Codes, queries: SearchSet, database: SearchSet, k: int, device: torch.device) -> CodeResult:
    """Rank the database for each query by one code.

    Args:
        codes: Codes of the queries and of the database.
        queries: Only the labels are read.
        database: Only the labels are read.
        k: Ranks that count in measures at k.
        device: Device on which distances are counted.
    """
    bits = codes[1].shape[1]
    radius, rows = min(RADIUS, bits), max(1, _COUNTS // (bits + 1))
    searched, labels = codes[1].to(device), database.labels.to(device)
    parts = []
    for part, part_labels in zip(torch.split(codes[0], rows), torch.split(queries.labels, rows), strict=True):
        items, relevant = hamming_histograms(part.to(device), searched, part_labels.to(device), labels)
        precision, recall = ball_precision_recall(items, relevant)
        average, at_k = (expected_average_precision(items, relevant, ranks) for ranks in (None, k))
        is_empty = (items[:, : radius + 1].sum(1) == 0).double()
        parts.append((average, at_k, expected_precision(items, relevant, k), recall, precision, is_empty))
    average, at_k, hits, recall, precision, is_empty = (torch.cat(values) for values in zip(*parts, strict=True))
    statistics = {
        "distinct_codes": count_distinct(codes[1]),
        "bit_entropy": bit_entropy(codes[1]),
        "bit_imbalance": bit_imbalance(codes[1]),
        "bit_correlation": bit_correlation(codes[1]),
        f"empty_radius_{RADIUS}": float(is_empty.mean()),
        f"precision_radius_{RADIUS}": float(precision[:, radius].mean()),
    }
    return CodeResult(average, at_k, hits, recall.mean(0), precision.mean(0), statistics)


def _hashed(hashes: Sequence[LinearHash], queries: SearchSet, database: SearchSet) -> list[Codes]:
    """Return the codes of queries and database by each hash function."""
    return [(one.codes(queries.features), one.codes(database.features)) for one in hashes]


def _mean(results: Sequence[CodeResult]) -> CodeResult:
    """Return the means of the results of several codes of one length."""

    def mean(field: str) -> Tensor:
        return torch.stack([getattr(result, field) for result in results]).mean(0)

    tensors = {field.name: mean(field.name) for field in fields(CodeResult) if field.name != "statistics"}
    statistics = {metric: fmean(result.statistics[metric] for result in results) for metric in STATISTICS}
    return CodeResult(**tensors, statistics=statistics)


def _curves(results: Mapping[Source, CodeResult]) -> dict[str, dict[str, list[float]]]:
    """Return source -> curves of mAP and of every statistic over the number of bits."""
    curves: dict[str, dict[str, list[float]]] = {}
    for (source, bits), result in sorted(results.items()):
        for name, value in {"bits": bits, "map": float(result.precisions.mean()), **result.statistics}.items():
            curves.setdefault(source, {}).setdefault(name, []).append(value)
    return curves


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"hashing": Hashing}
