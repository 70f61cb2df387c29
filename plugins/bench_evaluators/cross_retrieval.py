"""Task cross_retrieval: find an item's partner, or an item of its class, in the other modality.

Example: upper halves of digits as queries, lower halves as the database. Recall at 1 is the part of the queries whose
own lower half has the largest cosine of all; mAP counts all lower halves of the query's class as relevant.

Source: recall at k as for pictures and sentences (Karpathy and Fei-Fei, CVPR 2015, https://arxiv.org/abs/1412.2306);
        class mAP among classes left out of training as for sketches and photographs (Shen et al., CVPR 2018,
        https://arxiv.org/abs/1803.02284). Ties: see `bench_core.evaluation.ranking`.

Shapes: N pairs of the test split, Q of them queries, P coordinates.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Config,
    CrossModal,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    PerItem,
    Score,
    hookimpl,
    param,
    stream_seed,
)
from bench_core.data import draw_index
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.retrieval import SearchSet, chance, cosine_average_precision

RANKS = (1, 5, 10)
_PAIRS = 2**26  # pairs of a query and an item that are compared at once
SIDES = ("first", "second")  # names of the embeddings, in the order of the modalities
DIRECTIONS = ("_first_to_second", "_second_to_first")


@dataclass(frozen=True, kw_only=True)
class CrossRetrievalConfig(Config):
    """Parameters of the search."""

    num_queries: int = param(
        2000, "maximal number of queries of each modality, drawn evenly from the classes", "ours: as `retrieval`", ge=1
    )


class CrossRetrieval(Evaluator):
    """Search in the other modality (recall, mAP).

    Each modality queries the other one among the pairs of the test split, by cosine of the embeddings `first` and
    `second`. The first score is the recall of the partner at 1, a mean over both directions. With classes, mAP follows;
    if train lacks some of them, also the scores among test items of these classes only. Needs pairs, and a method that
    embeds each modality by itself.
    """

    Config = CrossRetrievalConfig
    family = "retrieval"

    def __init__(self, config: CrossRetrievalConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data that are no pairs, data without a test split, and methods that embed pairs only."""
        if data.kind != "pairs":
            return "needs pairs"
        if "test" not in data.splits:
            return "needs a test split"
        return None if issubclass(objective, CrossModal) else "does not embed each modality by itself"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Rank the test items of the other modality for each query."""
        test, train = frozen.splits["test"], frozen.splits["train"]
        sides = tuple(embedding_of(test, name).float() for name in SIDES)
        labels = test.labels if test.labels is not None and test.labels.ndim == 1 else None
        everything = torch.arange(len(sides[0]))
        scores, hits, queries = self._search(frozen, sides, labels, everything, "")
        notes = list[str]()
        if labels is not None and train.labels is not None:
            unseen = everything[~torch.isin(labels, train.labels)]
            if len(unseen):
                classes = ", ".join(str(int(label)) for label in torch.unique(labels[unseen]))
                notes.append(f"unseen: {len(unseen):,} test items of classes that train lacks: {classes}")
                scores += self._search(frozen, sides, labels, unseen, "_unseen")[0]
        assert frozen.data.modalities is not None, "pairs have modalities"
        first, second = frozen.data.modalities
        return Evaluation(
            scores=scores,
            protocol=(
                f"{len(queries):,} queries of each modality of test (first: {first}, second: {second}) against the "
                f"other modality of all {len(everything):,} pairs; ranked by cosine; recall at k: the partner is among "
                "the first k; mAP: all items of the class are relevant, whole ranking; without a direction: mean over "
                "both; unseen: queries and database of classes that train lacks; equal cosines: expectation over "
                "random order; chance: constant embeddings"
            ),
            notes=notes,
            items={"recall_at_1": PerItem(hits, "test", queries)},
        )

    def _search(
        self, frozen: Frozen, sides: tuple[Tensor, ...], labels: Tensor | None, among: Tensor, suffix: str
    ) -> tuple[list[Score], Tensor, Tensor]:
        """Search in both directions.

        Args:
            frozen: The trained method; its seed draws the queries.
            sides: Embeddings (N, P) of both modalities.
            labels: Classes (N,), or None.
            among: Positions of the test items that are queries and database.
            suffix: End of the metrics' names.

        Returns:
            Scores; recall (Q,) of each query at 1, a mean over both directions; and positions (Q,) of the queries.
        """
        first, second = (F.normalize(side[among], dim=1) for side in sides)
        own = None if labels is None else labels[among]
        count = min(self.config.num_queries, len(among))
        drawn = draw_index(own, len(among), count, stream_seed(frozen.seed, "cross_retrieval", "queries") % 2**32)
        chances = {f"recall_at_{k}": min(1.0, k / len(among)) for k in RANKS}
        if own is not None:
            chances["map"] = chance(torch.bincount(own)[own[drawn]], len(among), 1)["map"]
        measured = [self._direction(frozen, *pair, own, drawn) for pair in ((first, second), (second, first))]
        both = {metric: (measured[0][metric] + measured[1][metric]) / 2 for metric in measured[0]}
        scores = [
            Score(
                metric=metric + suffix + direction, value=float(values.mean()), chance=chances[metric],
                embedding="first, second", n=count,
            )
            for direction, of_metric in zip(("", *DIRECTIONS), (both, *measured), strict=True)
            for metric, values in of_metric.items()
        ]  # fmt: skip
        return scores, both["recall_at_1"], among[drawn]

    def _direction(
        self, frozen: Frozen, queries: Tensor, database: Tensor, labels: Tensor | None, drawn: Tensor
    ) -> dict[str, Tensor]:
        """Return metric -> value (Q,) of each query of one modality in the other.

        Args:
            frozen: The trained method.
            queries: Directions (N, P) of the modality that queries are drawn from.
            database: Directions (N, P) of the other one.
            labels: Classes (N,), or None.
            drawn: Positions (Q,) of the queries.
        """
        places = partner_places(queries[drawn].to(frozen.device), database, drawn)
        values = {f"recall_at_{k}": recall(*places, k) for k in RANKS}
        if labels is not None:
            asked = SearchSet(queries[drawn], labels[drawn], None, drawn)
            searched = SearchSet(database, labels, None, torch.arange(len(labels)))
            values["map"] = cosine_average_precision(asked, searched, frozen.device)
        return values


def partner_places(
    queries: Tensor, database: Tensor, partners: Tensor, rows: int | None = None
) -> tuple[Tensor, Tensor]:
    """Count the items before each query's partner, and those tied with it.

    Args:
        queries: Directions (Q, P) of the queries.
        database: Directions (N, P) of all items.
        partners: Positions (Q,) int64 of the queries' partners in the database.
        rows: Number of queries that are compared at once; None for 1,024, or fewer of a large database.

    Returns:
        Number (Q,) of items with a larger cosine, and number (Q,) of items with the partner's, itself among them.
    """
    database = database.to(queries.device)
    rows = rows or max(1, min(1024, _PAIRS // len(database)))
    before, tied = list[Tensor](), list[Tensor]()
    for part, partner in zip(torch.split(queries, rows), torch.split(partners, rows), strict=True):
        cosines = part @ database.T
        own = cosines.gather(1, partner[:, None].to(cosines.device))
        before.append((cosines > own).sum(1).cpu())
        tied.append((cosines == own).sum(1).cpu())
    return torch.cat(before), torch.cat(tied)


def recall(before: Tensor, tied: Tensor, k: int) -> Tensor:
    """Return the chance (Q,) float64 that the partner is among the first k, over random orders of tied items.

    Args:
        before: Number (Q,) of items with a larger cosine.
        tied: Number (Q,) of items with the partner's cosine, itself among them.
        k: Number of ranks that count.
    """
    return ((k - before).double() / tied).clamp(0, 1)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"cross_retrieval": CrossRetrieval}
