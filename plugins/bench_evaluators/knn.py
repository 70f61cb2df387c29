"""kNN: each test item is classed by the votes of its nearest training items.

Paper: Wu, Xiong, Yu, Lin, "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018,
       section 3.4, https://arxiv.org/abs/1805.01978
Code:  https://github.com/lightly-ai/lightly/blob/e8d317fc/lightly/utils/benchmarking/knn.py
"""

from dataclasses import dataclass

from bench_core import DataSpec, Evaluation, Evaluator, Frozen, Objective, hookimpl, param
from bench_core.evaluation.classification import class_items, class_scores, why_no_classes
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.knn import knn_answers


@dataclass(frozen=True, kw_only=True)
class KNNConfig:
    """Defaults are the paper's."""

    k: int = param(200, "neighbours that vote, capped at the size of the bank", "section 3.4")
    temperature: float = param(0.1, "cosines are divided by it", "lightly at e8d317fc; the paper has 0.07")
    embedding: str = param("features", "what is read", "usual")

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.k < 1:
            raise ValueError(f"k must be >= 1, got {self.k}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")


class KNN(Evaluator):
    """Accuracy of a vote of the nearest neighbours by cosine, weighted by exp(cosine / temperature)."""

    Config = KNNConfig

    def __init__(self, config: KNNConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Single labels, train and test."""
        return why_no_classes(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Test items against all training items."""
        config = self.config
        bank, bank_labels = labelled(frozen, "train", config.embedding)
        queries, labels = labelled(frozen, "test", config.embedding)
        num_classes = frozen.data.num_classes or int(bank_labels.max()) + 1
        k = min(config.k, len(bank))
        votes = knn_answers(
            queries, bank, bank_labels, num_classes, k=k, temperature=config.temperature, device=frozen.device
        )
        return Evaluation(
            scores=class_scores([votes], labels, bank_labels, num_classes, config.embedding),
            protocol=(
                f"test against train; k={k}, cosine, votes exp(cosine / {config.temperature:g}); equal votes go to the "
                "lower class, equal cosines at the k-th place are taken as the search finds them; chance: always the "
                "most frequent training class"
            ),
            notes=[f"k capped at {k:,}, the size of the bank (asked: {config.k:,})"] if k < config.k else [],
            items=class_items([votes], labels),
        )


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"knn": KNN}
