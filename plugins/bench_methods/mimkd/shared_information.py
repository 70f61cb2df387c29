"""Estimates of the information that a student shares with its teacher about an image.

A critic scores pairs of an output of the student and an output of the teacher. It learns to tell pairs that come from
one image from pairs that come from two, and the student learns to make that easy.

Shapes: N images, C channels, H x W pixels, D features, K channels of a map of h x w positions, L locations, U units.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Config, ConfigError, DataSpec, Encoder, Loss, Objective, log, param
from bench_core.nn.heads import mlp
from bench_core.nn.mutual_information import jensen_shannon, joint_and_product
from bench_core.nn.unsaved import Unsaved
from bench_core.views import PRESET_NAMES

from .layers import Layers, choose_map, read, read_black_image

_SOURCE = "ours: of .1, .3 and 1 for all three, on a part of digits"


@dataclass(frozen=True, kw_only=True)
class SharedInformationConfig(Config):
    """Parameters of the three estimates, and of the view that student and teacher get."""

    global_weight: float = param(
        0.3,
        "weight of the estimate between features of student and teacher; 0 leaves it out",
        _SOURCE,
        ge=0,
        tune=log(0.03, 3.0),
    )
    local_weight: float = param(
        0.3,
        "weight of the estimate between the student's features and locations of the teacher's map; 0 leaves it out",
        _SOURCE,
        ge=0,
        tune=log(0.03, 3.0),
    )
    maps_weight: float = param(
        0.3,
        "weight of the estimate between locations of the student's map and the teacher's; 0 leaves it out",
        _SOURCE,
        ge=0,
        tune=log(0.03, 3.0),
    )
    units: int = param(256, "width of the critics, in units", "ours: small encoders", ge=1)
    student_map: str | None = param(
        None, "name of one of the student's maps; none: the last but one", "ours: features average the last"
    )
    teacher_map: str | None = param(
        None, "name of one of the teacher's maps; none: the last but one", "ours: features average the last"
    )
    augmentation: str = param(
        "simclr",
        "preset of the views; student and teacher get the same view",
        "ours: that of supervised",
        choices=PRESET_NAMES,
    )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each estimate that is used, by its name."""
        weights = {"global": self.global_weight, "local": self.local_weight, "maps": self.maps_weight}
        return {name: weight for name, weight in weights.items() if weight > 0}


class SharedInformation(nn.Module):
    """A teacher, and up to three estimates of what a student shares with it, each with a critic of its own.

    global: features of the student and of the teacher.
    local: features of the student, and each location of the teacher's map.
    maps: a location of the student's map, and the same location of the teacher's.
    """

    def __init__(self, encoder: Encoder, teacher: Objective, data: DataSpec, config: SharedInformationConfig) -> None:
        """Choose the maps and build the critics.

        Args:
            encoder: The student.
            teacher: A trained method, frozen and in eval mode. It is not saved with this module.
            data: Images that both read.
            config: Weights and sizes.

        Raises:
            ConfigError: The teacher cannot read the images, or a map does not exist.
        """
        super().__init__()
        self.teacher = Unsaved(teacher)
        self.weights = config.weights
        self.with_maps = not self.weights.keys() <= {"global"}
        student_layers = read_black_image(encoder, data, self.with_maps)
        try:
            teacher_layers = read_black_image(teacher.encoder, data, self.with_maps)
        except RuntimeError as error:
            raise ConfigError(
                f"the teacher cannot read inputs of shape {data.shape}: {error}. Name a teacher of the same dataset"
            ) from error
        self.student_map = self.teacher_map = ""
        if self.with_maps:
            self.student_map = choose_map(student_layers, "student_map", config.student_map)
            self.teacher_map = choose_map(teacher_layers, "teacher_map", config.teacher_map)
        self.critics = nn.ModuleDict()
        for name in self.weights:
            student_rows, teacher_rows = self._compared(name, student_layers, teacher_layers)
            self.critics[name] = Critic(student_rows.shape[2], teacher_rows.shape[2], config.units)

    def read(self, encoder: Encoder, images: Tensor) -> tuple[Layers, Layers]:
        """Read images (N, C, H, W) with the student and, without gradients, with the teacher."""
        with torch.no_grad():
            teacher = read(self.teacher.module.encoder, images, self.with_maps)
        return read(encoder, images, self.with_maps), teacher

    def forward(self, student: Layers, teacher: Layers) -> Loss:
        """Return minus the weighted sum of the estimates, with each estimate and its ceiling, 2 log 2."""
        total = torch.zeros((), device=student.features.device)
        parts: dict[str, Tensor] = {}
        for name, critic in self.critics.items():
            parts[f"{name}_jsd"] = estimate(critic(*self._compared(name, student, teacher)))
            total = total - self.weights[name] * parts[f"{name}_jsd"]
        return Loss(total, parts, dict.fromkeys(parts, 2 * math.log(2)))

    def _compared(self, name: str, student: Layers, teacher: Layers) -> tuple[Tensor, Tensor]:
        """Return the rows that a critic compares, of the student (N, 1 or L, numbers) and the teacher (N, L, numbers).

        Of two maps the larger one is averaged to the positions of the smaller one, along each side.
        """
        if name == "global":
            return student.features[:, None], teacher.features[:, None]
        student_map, teacher_map = student.maps[self.student_map], teacher.maps[self.teacher_map]
        if name == "local":
            return student.features[:, None], locations(teacher_map)
        size = min(student_map.shape[2], teacher_map.shape[2]), min(student_map.shape[3], teacher_map.shape[3])
        return locations(averaged(student_map, size)), locations(averaged(teacher_map, size))


class Critic(nn.Module):
    """Encode-and-dot critic: one network for the student, one for the teacher; a score is their inner product."""

    def __init__(self, student_dim: int, teacher_dim: int, units: int) -> None:
        """Build both networks, of two layers.

        Args:
            student_dim: Numbers in a row of the student.
            teacher_dim: Numbers in a row of the teacher.
            units: U, width of both layers. Inner products are divided by its root.
        """
        super().__init__()
        self.student = mlp(student_dim, units, units)
        self.teacher = mlp(teacher_dim, units, units)

    def forward(self, student_rows: Tensor, teacher_rows: Tensor) -> Tensor:
        """Score rows of the student (N, 1 or L, student_dim) with rows of the teacher (N, L, teacher_dim).

        Returns:
            (L, N, N) in float32 or more, also under autocast: [i, a, b] scores the student's row of image a, its only
            one or number i, with the teacher's row i of image b.
        """
        s, t = _each(self.student, student_rows), _each(self.teacher, teacher_rows)
        with torch.autocast(s.device.type, enabled=False):
            s, t = (rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (s, t))
            scores: Tensor = s.transpose(0, 1) @ t.permute(1, 2, 0) / math.sqrt(s.shape[2])
        return scores


def estimate(scores: Tensor) -> Tensor:
    """Return the Jensen-Shannon estimate of the scores of all pairs, as in Deep InfoMax.

    Args:
        scores: (L, N, N). Pairs of one image, on the diagonals, are positives; all others are negatives.

    Returns:
        () at most 2 log 2; 0 where all scores are 0.
    """
    joint, product = torch.vmap(joint_and_product)(scores)
    return jensen_shannon(joint, product)


def averaged(local_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Average a map (N, K, h, w) to a size (height, width); one of that size stays as it is."""
    return local_map if local_map.shape[2:] == size else F.adaptive_avg_pool2d(local_map, size)


def locations(local_map: Tensor) -> Tensor:
    """Return the locations of a map (N, K, h, w) as rows (N, L, K), counted row by row."""
    return local_map.flatten(2).transpose(1, 2)


def _each(network: nn.Module, rows: Tensor) -> Tensor:
    """Apply a network of rows (R, in) to rows (N, L, in); batch norm takes all of them together."""
    outputs: Tensor = network(rows.flatten(0, 1))
    return outputs.view(*rows.shape[:2], -1)
