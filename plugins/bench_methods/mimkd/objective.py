"""MIMKD: a student keeps what a trained teacher knows of an image, in its features and at each location.

Paper: Shrivastava, Qi, Ordonez, 2021, https://arxiv.org/abs/2110.15946; soft labels: Hinton, Vinyals, Dean, 2015,
       https://arxiv.org/abs/1503.02531
Code:  none followed; the weight of soft labels is that of https://github.com/HobbitLong/RepDistiller/tree/0eb3a95
Note:  Of the paper only the abstract was read: critics, maps and weights of the three estimates are ours, the estimate
       is that of Deep InfoMax. Negatives are all other images of the batch. `mimkd_unlabelled`, which has the three
       estimates alone, is ours.

Shapes: N images, C channels, H x W pixels, D features, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, ConfigError, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, log, param
from bench_core.views import augment, preset

from .shared_information import SharedInformation, SharedInformationConfig

_RECIPE = Recipe(optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, epochs=200, batch_size=128)
_RECIPE_SOURCE = "ours: that of supervised, so that only the loss differs"


@runtime_checkable
class Classifier(Protocol):
    """A teacher that gives soft labels (`supervised`, `mimkd`)."""

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (N, K) of features (N, D) of its encoder."""


@dataclass(frozen=True, kw_only=True)
class MIMKDConfig(SharedInformationConfig):
    """Parameters of the loss of the head and of the three estimates."""

    soft_labels: float = param(
        0.9,
        "share of the teacher's soft labels in the loss of the head, the rest is the labels'; 0 leaves them out",
        "RepDistiller, README.md, command of KD",
        ge=0,
        le=1,
    )
    temperature: float = param(
        4.0,
        "divides the logits of student and teacher in the loss of soft labels",
        "ours: usual",
        gt=0,
        tune=log(1.0, 16.0),
    )


class LabelledViews(NamedTuple):
    """Images (N, C, H, W) and their classes (N,)."""

    images: Tensor
    labels: Tensor


class MIMKD(Objective):
    """Keep what a teacher knows (Shrivastava 2021).

    Trains the encoder and a linear head on labels and on a teacher's soft labels, and with critics on the information
    that its layers share with the teacher's. Tasks read the encoder.
    """

    Config = MIMKDConfig
    uses_labels = True
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE
    variants: ClassVar[Mapping[str, Variant]] = {
        "distillation": Variant(
            {"global_weight": 0.0, "local_weight": 0.0, "maps_weight": 0.0},
            "Hinton, Vinyals, Dean, 2015",
            "labels and soft labels alone, plain distillation: the control",
        )
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: MIMKDConfig, *, teacher: Objective) -> None:
        """Add the head, and a critic for each estimate with a weight above 0."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("mimkd needs classes, the data has none; see skip_reason")
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.head = nn.Linear(encoder.dim, data.num_classes)
        self.shared = SharedInformation(encoder, teacher, data, config)
        if config.soft_labels > 0:
            _check_logits(teacher, data.num_classes)

    def make_views(self, batch: Batch, rng: torch.Generator) -> LabelledViews:
        """Augment each image once: views (N, C, H, W) with their labels."""
        assert batch.labels is not None, "uses_labels asks for them"
        return LabelledViews(augment(batch.inputs, rng, self.augmentation), batch.labels)

    def forward(self, views: LabelledViews, player: str = "main") -> Loss:
        """Return (1 - soft_labels) cross-entropy + soft_labels `soft_label_loss` - weighted estimates, in nats."""
        student, teacher = self.shared.read(self.encoder, views.images)
        logits = self.logits(student.features)  # (N, K)
        cross_entropy = F.cross_entropy(logits, views.labels)
        accuracy = (logits.detach().argmax(1) == views.labels).float().mean()
        parts = {"cross_entropy": cross_entropy, "accuracy": accuracy}
        total = (1 - self.config.soft_labels) * cross_entropy
        if self.config.soft_labels > 0:
            classifier = self.shared.teacher.module
            assert isinstance(classifier, Classifier), "see _check_logits"
            with torch.no_grad():
                teacher_logits = classifier.logits(teacher.features)
            parts["soft_labels"] = soft_label_loss(logits, teacher_logits, self.config.temperature)
            total = total + self.config.soft_labels * parts["soft_labels"]
        information = self.shared(student, teacher)
        return Loss(total + information.total, {**parts, **information.parts}, information.ceilings)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, K) of features (N, D), so that a student can become a teacher."""
        logits: Tensor = self.head(features)
        return logits

    @classmethod
    def skip_reason(
        cls, data: DataSpec, config: MIMKDConfig, *, teacher_class: type[Objective] | None = None
    ) -> str | None:
        """Return a reason unless the data are images with one class each, and a teacher of soft labels gives logits."""
        if not data.is_image:
            return "needs images"
        if data.num_classes is None:
            return "needs one class for each image"
        if config.soft_labels > 0 and teacher_class is not None and not hasattr(teacher_class, "logits"):
            return "its teacher has no logits, which soft labels need: name one like supervised, or set soft_labels=0"
        return None


@dataclass(frozen=True, kw_only=True)
class MIMKDUnlabelledConfig(SharedInformationConfig):
    """Parameters of the three estimates alone."""

    def __post_init__(self) -> None:
        """Check that at least one estimate has a weight."""
        super().__post_init__()
        if not self.weights:
            raise ValueError("global_weight, local_weight and maps_weight must not all be 0")


class MIMKDUnlabelled(Objective):
    """MIMKD's three estimates alone, without labels.

    Trains the encoder, with critics, on the information that its layers share with those of a teacher, which may itself
    be trained with labels or without. Tasks read the encoder.
    """

    Config = MIMKDUnlabelledConfig
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: MIMKDUnlabelledConfig, *, teacher: Objective) -> None:
        """Add a critic for each estimate with a weight above 0."""
        super().__init__(encoder, data, config)
        self.augmentation = preset(config.augmentation, data)
        self.shared = SharedInformation(encoder, teacher, data, config)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image once: views (N, C, H, W)."""
        return augment(batch.inputs, rng, self.augmentation)

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return minus the weighted sum of the estimates."""
        loss: Loss = self.shared(*self.shared.read(self.encoder, views))
        return loss

    @classmethod
    def skip_reason(cls, data: DataSpec, config: MIMKDUnlabelledConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


def soft_label_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over images.

    The factor keeps the size of the gradient where T changes (Hinton, Vinyals, Dean, Sec. 2).

    Args:
        student: Logits (N, K).
        teacher: Logits (N, K).
        temperature: T.

    Returns:
        () in nats times T^2; 0 where both give the same softmax.
    """
    with torch.autocast(student.device.type, enabled=False):
        log_p, log_q = ((logits.float() / temperature).log_softmax(1) for logits in (teacher, student))
        return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def _check_logits(teacher: Objective, num_classes: int) -> None:
    """Raise ConfigError unless the teacher gives logits of as many classes as the data has."""
    instead = "Name a teacher that was trained on these labels, such as supervised, or set soft_labels to 0."
    if not isinstance(teacher, Classifier):
        raise ConfigError(f"soft labels need a teacher with logits, and {type(teacher).__name__} has none. {instead}")
    weights = next(teacher.encoder.parameters())
    given = teacher.logits(weights.new_zeros(1, teacher.encoder.dim)).shape[1]
    if given != num_classes:
        raise ConfigError(f"the teacher gives logits of {given} classes, the data has {num_classes}. {instead}")


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"mimkd": MIMKD, "mimkd_unlabelled": MIMKDUnlabelled}
