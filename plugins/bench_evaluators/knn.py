"""Task knn: classify each test item by a vote of its nearest training items.

Paper: Wu, Xiong, Yu, Lin, "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018,
       section 3.4, https://arxiv.org/abs/1805.01978
Code:  https://github.com/lightly-ai/lightly/blob/e8d317fc/lightly/utils/benchmarking/knn.py
"""

from dataclasses import dataclass
from typing import Literal

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, hookimpl, param
from bench_core.evaluation.approximate_search import describe_search
from bench_core.evaluation.classification import class_items, class_scores, classes_skip_reason, number_of_classes
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.knn import choose_k, knn_answers
from bench_core.evaluation.rows import as_features


@dataclass(frozen=True, kw_only=True)
class KNNConfig(Config):
    """Parameters of the vote."""

    k: int | None = param(
        None,
        "number of nearest training items that vote; at most all of them; none takes 200, or as many as the smallest "
        "class has if that is less",
        "section 3.4: 200; the limit is ours",
        ge=1,
    )
    temperature: float = param(
        0.1, "a neighbour's vote weighs exp(cosine / temperature)", "lightly at e8d317fc; the paper has 0.07", gt=0
    )
    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    search: Literal["exact", "ivf", "hnsw"] = param(
        "exact",
        "exact compares every pair; ivf (inverted lists) and hnsw (a graph) are indexes, which compare few, for "
        "databases of millions of items",
        "usual",
        added=True,
    )


class KNN(Evaluator):
    """Weighted vote of nearest neighbours (Wu 2018).

    Each test item gets the class with most votes among its k nearest training items by cosine; a vote weighs
    exp(cosine / temperature). The score is top-1 accuracy on the test split (and top-5 with more than 10 classes).
    Nothing is trained. Needs one class for each item, and a train and a test split.
    """

    Config = KNNConfig
    revision = 2  # 2: k is at most the smallest class unless set; a class without a vote is no answer; ties are shared
    family = "classification"

    def __init__(self, config: KNNConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without one class for each item, or without a train or test split."""
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Classify all test items by all training items."""
        config = self.config
        train, train_labels = labelled_embedding(frozen, "train", config.embedding)
        test, labels = labelled_embedding(frozen, "test", config.embedding)
        num_classes = number_of_classes(frozen.data)
        k, notes = choose_k(config.k, train_labels)
        votes = knn_answers(
            as_features(test), as_features(train), train_labels, num_classes,
            k=k, temperature=config.temperature, device=frozen.device, search=config.search,
        )  # fmt: skip
        how = f"{words}; " if (words := describe_search(config.search, len(train))) else ""
        return Evaluation(
            scores=class_scores([votes], labels, train_labels, num_classes, config.embedding),
            protocol=(
                f"test against train; k={k}, cosine, votes exp(cosine / {config.temperature:g}); of classes with "
                "equal votes each is first equally often, a class without a vote is no answer; equal cosines at the "
                f"k-th place are taken as the search finds them; {how}chance: always the most frequent training class"
            ),
            notes=notes,
            items=class_items([votes], labels),
        )


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"knn": KNN}
