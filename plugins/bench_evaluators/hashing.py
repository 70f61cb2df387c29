"""Task hashing: compare a method's own code with ITQ, PCAH and LSH codes of its features, on the same items.

A network that learns to hash is worth its training if its code finds more than ITQ's code of the same network's
features. All codes are learned on the train split and rank the database by Hamming distance; tied items count by their
expectation over random orders. Sorting by cosine is the reference without quantisation: the gap to it is what
quantising loses.

Paper:  Gong, Lazebnik, "Iterative quantization: a Procrustean approach to learning binary codes", CVPR 2011; on LSH see
        `bench_core.evaluation.hash_codes`, on ties `bench_core.evaluation.ranking`.

Shapes: Q queries, N items of the database, B bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param, stream
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.hash_codes import (
    ITERATIONS,
    bit_correlation,
    bit_entropy,
    bit_imbalance,
    itq,
    lsh,
    pcah,
)
from bench_core.evaluation.ranking import ball_precision_recall, expected_average_precision
from bench_core.evaluation.retrieval import (
    SearchSet,
    chance,
    cosine_average_precision,
    no_relevant_note,
    read_search_set,
    retrieval_skip_reason,
    split_names,
)
from bench_core.evaluation.sign_patterns import count_distinct

RADIUS = 2  # Hamming radius of the ball in which precision is measured
STATISTICS = {
    "distinct_codes": ("count", True),
    "bit_entropy": ("bits", True),
    "bit_imbalance": ("fraction", False),
    "bit_correlation": ("correlation", False),
    f"empty_radius_{RADIUS}": ("fraction", False),
    f"precision_radius_{RADIUS}": ("fraction", True),
}  # metric of a code -> unit, and whether higher is better


@dataclass(frozen=True, kw_only=True)
class HashingConfig(Config):
    """Parameters of hashing: embedding, code lengths and number of queries."""

    embedding: str = param(
        "features", "name of the embedding that ITQ, PCAH and LSH hash, and that cosine ranks", "usual"
    )
    code_lengths: tuple[int, ...] = param(
        (32, 16, 64),
        "code lengths in bits; the first ranks the methods, the length of the method's own code is added",
        "usual in hashing papers",
        ge=1,
    )
    num_queries: int = param(
        2000, "maximal number of queries, drawn evenly from the classes", "ours: ten codes are ranked", ge=1
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
        precisions: (Q,) average precision of each query.
        relevant: (Q,) number of relevant items of each query.
        statistics: Metric in `STATISTICS` -> value.
    """

    precisions: Tensor
    relevant: Tensor
    statistics: Mapping[str, float]


class Hashing(Evaluator):
    """A method's own code against ITQ, PCAH and LSH.

    Each code ranks the database by Hamming distance for each query; the first score is mAP of ITQ codes of the
    features. `code_minus_itq` is what the method's own code gains over ITQ at the same length. Further scores tell
    how well a code uses its bits. Needs labels (one or several an item), and the splits `query` and `database`, or
    else `test` and `train`.
    """

    Config = HashingConfig
    family = "retrieval"

    def __init__(self, config: HashingConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without labels or without one of the two splits."""
        return retrieval_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Hash queries and database by every method and length, and rank the database by each code."""
        config, names = self.config, split_names(frozen.splits)
        count = min(config.num_queries, frozen.data.splits[names[0]])
        queries = read_search_set(frozen, names[0], config.embedding, count)
        database = read_search_set(frozen, names[1], config.embedding)
        method_bits = None if queries.code is None or database.code is None else database.code.shape[1]
        lengths = list(config.code_lengths)
        if method_bits is not None and method_bits not in lengths:
            lengths.append(method_bits)
        results: dict[tuple[str, int], CodeResult] = {}
        for bits in lengths:
            for source, codes in self._codes(frozen, queries, database, bits).items():
                results[source, bits] = search(*codes, queries, database, frozen.device)
        floor = chance(results["itq", lengths[0]].relevant, len(database), len(database))["map"]
        cosine = cosine_average_precision(queries, database, frozen.device)
        dims = queries.features.shape[1]
        return Evaluation(
            scores=[
                *self._precisions(results, cosine, method_bits, floor),
                *self._statistics(results, method_bits, len(database)),
            ],
            protocol=(
                f"{len(queries):,} queries of {names[0]} against {len(database):,} items of {names[1]}; relevant: "
                f"{'same class' if queries.labels.ndim == 1 else 'a label in common'}; mAP@all, Hamming ties: "
                f"expectation over random order; ITQ ({ITERATIONS} iterations), PCAH and LSH of {config.embedding}, "
                "centred, all learned on train; bit statistics: of the database by the method's own code, else by ITQ "
                f"of {lengths[0]} bits; queries without a relevant item count as 0; chance: a constant code"
            ),
            notes=[
                *no_relevant_note(queries, database),
                *(f"{bits} bits of {dims} dimensions: PCAH's others are constant" for bits in lengths if bits > dims),
            ],
            curves=_curves(results),
        )

    def _codes(
        self, frozen: Frozen, queries: SearchSet, database: SearchSet, bits: int
    ) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return source -> codes (Q, B) and (N, B), bool; LSH's projections are those of the task `retrieval`."""
        train = embedding_of(frozen.splits["train"], self.config.embedding).float()
        hashes = {
            "itq": itq(train, bits, stream(frozen.seed, "hashing", "itq", str(bits))),
            "pcah": pcah(train, bits),
            "lsh": lsh(train, bits, stream(frozen.seed, "retrieval", "lsh", str(bits))),
        }
        codes = {
            name: (hashing.codes(queries.features), hashing.codes(database.features))
            for name, hashing in hashes.items()
        }
        if queries.code is not None and database.code is not None and database.code.shape[1] == bits:
            codes["code"] = queries.code, database.code
        return codes

    def _precisions(
        self,
        results: Mapping[tuple[str, int], CodeResult],
        cosine: Tensor,
        method_bits: int | None,
        floor: float,
    ) -> list[Score]:
        """Average the precisions of every code: ITQ's of the first length, the method's own, cosine, then the rest.

        Args:
            results: Results by source and length.
            cosine: (Q,) average precision of each query by cosine.
            method_bits: Length of the method's own code, or None.
            floor: mAP of a constant code.
        """

        def score(metric: str, values: Tensor, embedding: str) -> Score:
            return Score(metric=metric, value=float(values.mean()), chance=floor, embedding=embedding, n=len(values))

        name = self.config.embedding
        references = [
            score(f"map_{source}_{bits}_bits", result.precisions, f"{source}({name})")
            for (source, bits), result in results.items()
            if source != "code"
        ]
        scores = [references[0]]
        if method_bits is not None:
            code, reference = results["code", method_bits].precisions, results["itq", method_bits].precisions
            gain = float((code - reference).mean())
            scores.append(score("map_code", code, "code"))
            scores.append(Score(metric="code_minus_itq", value=gain, unit="difference", embedding="code", n=len(code)))
        return [*scores, score("map_cosine", cosine, name), *references[1:]]

    def _statistics(
        self, results: Mapping[tuple[str, int], CodeResult], method_bits: int | None, size: int
    ) -> list[Score]:
        """Return statistics of the bits of the method's own code, or of ITQ's first code where it has none."""
        bits = method_bits or self.config.code_lengths[0]
        source, name = ("code", "code") if method_bits else ("itq", f"itq({self.config.embedding})")
        result = results[source, bits]
        scores = [
            Score(
                metric=metric,
                value=result.statistics[metric],
                unit=unit,
                higher_is_better=higher,
                embedding=name,
                n=len(result.precisions) if "radius" in metric else size,
            )
            for metric, (unit, higher) in STATISTICS.items()
        ]
        return [*scores, Score(metric="code_bits", value=bits, unit="count", embedding=name, n=size)]


def search(
    query_codes: Tensor, database_codes: Tensor, queries: SearchSet, database: SearchSet, device: torch.device
) -> CodeResult:
    """Rank the database for each query by one code.

    Args:
        query_codes: (Q, B) bool.
        database_codes: (N, B) bool.
        queries: Only the labels are read.
        database: Only the labels are read.
        device: Device on which distances are counted.
    """
    items, relevant = hamming_histograms(
        query_codes.to(device), database_codes.to(device), queries.labels.to(device), database.labels.to(device)
    )
    radius = min(RADIUS, database_codes.shape[1])
    statistics = {
        "distinct_codes": count_distinct(database_codes),
        "bit_entropy": bit_entropy(database_codes),
        "bit_imbalance": bit_imbalance(database_codes),
        "bit_correlation": bit_correlation(database_codes),
        f"empty_radius_{RADIUS}": float((items[:, : radius + 1].sum(1) == 0).double().mean()),
        f"precision_radius_{RADIUS}": float(ball_precision_recall(items, relevant)[0][:, radius].mean()),
    }
    return CodeResult(expected_average_precision(items, relevant), relevant.sum(1), statistics)


def _curves(results: Mapping[tuple[str, int], CodeResult]) -> dict[str, dict[str, list[float]]]:
    """Return source -> curves of mAP and of every statistic over the number of bits."""
    curves: dict[str, dict[str, list[float]]] = {}
    for (source, bits), result in sorted(results.items()):
        for name, value in {"bits": bits, "map": float(result.precisions.mean()), **result.statistics}.items():
            curves.setdefault(source, {}).setdefault(name, []).append(value)
    return curves


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"hashing": Hashing}
