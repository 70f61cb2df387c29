"""Hashing: a method's own code beside ITQ, PCAH and LSH codes of its features, on the same items.

A network that learns to hash shows something where its code finds more than ITQ's code of its own features does. All
codes are learned on the train split and ranked by Hamming distance, ties in expectation. Sorting by cosine bounds
what a code of these features can be asked for: the gap is what quantising loses.

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
    Side,
    chance,
    cosine_average_precision,
    note_of_none,
    read_side,
    split_names,
    why_no_search,
)
from bench_core.evaluation.sign_patterns import count_distinct

RADIUS = 2
STATISTICS = {
    "distinct_codes": ("count", True),
    "bit_entropy": ("bits", True),
    "bit_imbalance": ("fraction", False),
    "bit_correlation": ("correlation", False),
    f"empty_radius_{RADIUS}": ("fraction", False),
    f"precision_radius_{RADIUS}": ("fraction", True),
}  # of a code: unit, and whether higher is better


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
class Found:
    """What one code found: average precision and number of relevant items of each query, (Q,); statistics by name."""

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

    def __init__(self, config: HashingConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Labels of either kind and two splits."""
        return why_no_search(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Hash both sides in every way, and rank."""
        config, names = self.config, split_names(frozen.splits)
        count = min(config.num_queries, frozen.data.splits[names[0]])
        queries = read_side(frozen, names[0], config.embedding, count)
        database = read_side(frozen, names[1], config.embedding)
        own = None if queries.code is None or database.code is None else database.code.shape[1]
        lengths = list(dict.fromkeys([*config.code_lengths, *([] if own is None else [own])]))
        found = {
            (source, bits): search(*codes, queries, database, frozen.device)
            for bits in lengths
            for source, codes in self._codes(frozen, queries, database, bits).items()
        }
        floor = chance(found["itq", lengths[0]].relevant, len(database), len(database))["map"]
        cosine = cosine_average_precision(queries, database, frozen.device)
        dims = queries.features.shape[1]
        return Evaluation(
            scores=[
                *self._precisions(found, cosine, own, floor),
                *self._statistics(found, own, len(database)),
            ],
            protocol=(
                f"{len(queries):,} queries of {names[0]} against {len(database):,} items of {names[1]}; relevant: "
                f"{'same class' if queries.labels.ndim == 1 else 'a label in common'}; mAP@all, Hamming ties: "
                f"expectation over random order; ITQ ({ITERATIONS} iterations), PCAH and LSH of {config.embedding}, "
                "centred, all learned on train; bit statistics: of the database by the method's own code, else by ITQ "
                f"of {lengths[0]} bits; queries without a relevant item count as 0; chance: a constant code"
            ),
            notes=[
                *note_of_none(queries, database),
                *(f"{bits} bits of {dims} dimensions: PCAH's others are constant" for bits in lengths if bits > dims),
            ],
            curves=_curves(found),
        )

    def _codes(self, frozen: Frozen, queries: Side, database: Side, bits: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Source -> (Q, B) and (N, B) bool; LSH's projections are those of `retrieval`."""
        train = embedding_of(frozen.splits["train"], self.config.embedding).float()
        hashes = {
            "itq": itq(train, bits, stream(frozen.seed, "hashing", "itq", str(bits))),
            "pcah": pcah(train, bits),
            "lsh": lsh(train, bits, stream(frozen.seed, "retrieval", "lsh", str(bits))),
        }
        codes = {name: (h.codes(queries.features), h.codes(database.features)) for name, h in hashes.items()}
        if queries.code is not None and database.code is not None and database.code.shape[1] == bits:
            codes["code"] = queries.code, database.code
        return codes

    def _precisions(
        self, found: Mapping[tuple[str, int], Found], cosine: Tensor, own: int | None, floor: float
    ) -> list[Score]:
        """Mean average precision of every code, ITQ's of the first length in front, then the method's own."""

        def score(metric: str, values: Tensor, embedding: str) -> Score:
            return Score(metric=metric, value=float(values.mean()), chance=floor, embedding=embedding, n=len(values))

        name = self.config.embedding
        references = [
            score(f"map_{source}_{bits}_bits", at.precisions, f"{source}({name})")
            for (source, bits), at in found.items()
            if source != "code"
        ]
        scores = [references[0]]
        if own is not None:
            code, reference = found["code", own].precisions, found["itq", own].precisions
            gain = float((code - reference).mean())
            scores.append(score("map_code", code, "code"))
            scores.append(Score(metric="code_minus_itq", value=gain, unit="difference", embedding="code", n=len(code)))
        return [*scores, score("map_cosine", cosine, name), *references[1:]]

    def _statistics(self, found: Mapping[tuple[str, int], Found], own: int | None, size: int) -> list[Score]:
        """How the method's own code, else ITQ's, uses its bits."""
        bits = own or self.config.code_lengths[0]
        source, name = ("code", "code") if own else ("itq", f"itq({self.config.embedding})")
        at = found[source, bits]
        scores = [
            Score(
                metric=metric,
                value=at.statistics[metric],
                unit=unit,
                higher_is_better=higher,
                embedding=name,
                n=len(at.precisions) if "radius" in metric else size,
            )
            for metric, (unit, higher) in STATISTICS.items()
        ]
        return [*scores, Score(metric="code_bits", value=bits, unit="count", embedding=name, n=size)]


def search(query_codes: Tensor, database_codes: Tensor, queries: Side, database: Side, device: torch.device) -> Found:
    """Rank the database for each query by one code.

    Args:
        query_codes: (Q, B) bool.
        database_codes: (N, B) bool.
        queries: Their labels are read.
        database: As `queries`.
        device: Where distances are counted.
    """
    sides = [s.to(device) for s in (query_codes, database_codes, queries.labels, database.labels)]
    items, relevant = hamming_histograms(sides[0], sides[1], sides[2], sides[3])
    radius = min(RADIUS, database_codes.shape[1])
    statistics = {
        "distinct_codes": count_distinct(database_codes),
        "bit_entropy": bit_entropy(database_codes),
        "bit_imbalance": bit_imbalance(database_codes),
        "bit_correlation": bit_correlation(database_codes),
        f"empty_radius_{RADIUS}": float((items[:, : radius + 1].sum(1) == 0).double().mean()),
        f"precision_radius_{RADIUS}": float(ball_precision_recall(items, relevant)[0][:, radius].mean()),
    }
    return Found(expected_average_precision(items, relevant), relevant.sum(1), statistics)


def _curves(found: Mapping[tuple[str, int], Found]) -> dict[str, dict[str, list[float]]]:
    """Source -> mAP and every statistic against the number of bits."""
    curves: dict[str, dict[str, list[float]]] = {}
    for (source, bits), at in sorted(found.items()):
        for name, value in {"bits": bits, "map": float(at.precisions.mean()), **at.statistics}.items():
            curves.setdefault(source, {}).setdefault(name, []).append(value)
    return curves


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"hashing": Hashing}
