"""Critics and estimates: the formula by loops, values by hand, invariances, and what they reach in training."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Loss, Objective
from bench_core.config import build
from bench_core.errors import ConfigError
from bench_encoders.convnet import ConvNet
from bench_methods.mimkd.layers import Layers
from bench_methods.mimkd.shared_information import (
    Critic,
    SharedInformation,
    SharedInformationConfig,
    averaged,
    estimate,
    locations,
)

CEILING = 2 * math.log(2)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_estimate_is_the_mean_over_locations_of_positives_and_negatives() -> None:
    scores = torch.randn(3, 4, 4, dtype=torch.float64)
    expected = 0.0
    for i in range(3):
        positives = [-math.log1p(math.exp(-scores[i, a, a])) for a in range(4)]
        negatives = [math.log1p(math.exp(scores[i, a, b])) for a in range(4) for b in range(4) if a != b]
        expected += (sum(positives) / 4 - sum(negatives) / 12 + CEILING) / 3
    assert estimate(scores).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("score", "value"), [(0.0, 0.0), (math.log(3), 2 * math.log(1.5)), (40.0, CEILING)])
def test_estimate_of_scores_that_tell_all_pairs_apart_equally_well(score: float, value: float) -> None:
    scores = (2 * torch.eye(5, dtype=torch.float64) - 1).expand(2, 5, 5) * score
    assert estimate(scores).item() == pytest.approx(value, abs=1e-12)


def test_estimate_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="K >= 2"):
        estimate(torch.zeros(3, 1, 1))


@pytest.mark.parametrize("student_rows", [1, 3])
def test_score_is_the_inner_product_of_both_networks(student_rows: int) -> None:
    critic = Critic(5, 7, 16).eval()
    s, t = torch.randn(4, student_rows, 5), torch.randn(4, 3, 7)
    scores = critic(s, t)
    assert scores.shape == (3, 4, 4)
    for i in range(3):
        for a in range(4):
            for b in range(4):
                row = s[a, i if student_rows == 3 else 0]
                expected = torch.dot(critic.student(row[None])[0], critic.teacher(t[b, i][None])[0]) / 4
                assert torch.allclose(scores[i, a, b], expected, atol=1e-6)


def test_scores_are_float32_under_autocast_and_float64_for_such_rows() -> None:
    critic, s, t = Critic(5, 7, 16).eval(), torch.randn(4, 3, 5), torch.randn(4, 3, 7)
    expected = critic(s, t)
    with torch.autocast("cpu", torch.bfloat16):
        scores = critic(s, t)
    assert scores.dtype == torch.float32
    assert torch.allclose(scores, expected, atol=0.02)
    assert torch.allclose(critic.double()(s.double(), t.double()).float(), expected, atol=1e-6)


def test_a_map_is_averaged_to_the_size_of_the_other() -> None:
    local_map = torch.arange(16.0).view(1, 1, 4, 4)
    assert locations(averaged(local_map, (2, 2))).tolist() == [[[2.5], [4.5], [10.5], [12.5]]]
    assert averaged(local_map, (4, 4)) is local_map


def random_layers(maps: dict[str, tuple[int, int, int]], dim: int, images: int = 6) -> Layers:
    return Layers(torch.randn(images, dim), {name: torch.randn(images, *shape) for name, shape in maps.items()})


@pytest.fixture
def shared(student: ConvNet, teacher: Objective, data: DataSpec) -> SharedInformation:
    """All three estimates in eval mode: the student's map has 4 x 4 positions, the teacher's 2 x 2."""
    config = SharedInformationConfig(units=16, global_weight=0.5, local_weight=2.0, maps_weight=3.0)
    return SharedInformation(student, teacher, data, config).eval()


def test_loss_is_minus_the_weighted_sum_of_the_three_estimates(shared: SharedInformation) -> None:
    student = random_layers({"conv1": (4, 4, 4)}, 5)
    teacher = random_layers({"conv2": (8, 2, 2)}, 10)
    loss = shared(student, teacher)
    rows = teacher.maps["conv2"].flatten(2).transpose(1, 2)  # (6, 4, 8)
    pooled = F.avg_pool2d(student.maps["conv1"], 2).flatten(2).transpose(1, 2)  # (6, 4, 4)
    compared = {
        "global": (student.features[:, None], teacher.features[:, None]),
        "local": (student.features[:, None], rows),
        "maps": (pooled, rows),
    }
    assert list(loss.parts) == ["global_jsd", "local_jsd", "maps_jsd"]
    for name, pair in compared.items():
        assert torch.allclose(loss.parts[f"{name}_jsd"], estimate(shared.critics[name](*pair)))
    expected = -(0.5 * loss.parts["global_jsd"] + 2 * loss.parts["local_jsd"] + 3 * loss.parts["maps_jsd"])
    assert torch.allclose(loss.total, expected)
    assert loss.ceilings == dict.fromkeys(loss.parts, CEILING)


def test_order_of_images_and_of_locations_does_not_matter(shared: SharedInformation) -> None:
    student = random_layers({"conv1": (4, 2, 2)}, 5)
    teacher = random_layers({"conv2": (8, 2, 2)}, 10)
    images = torch.tensor([3, 0, 5, 1, 4, 2])

    def moved(layers: Layers) -> Layers:
        return Layers(layers.features[images], {k: v[images].flip(2).transpose(2, 3) for k, v in layers.maps.items()})

    loss, other = shared(student, teacher), shared(moved(student), moved(teacher))
    assert all(torch.allclose(loss.parts[name], other.parts[name], atol=1e-6) for name in loss.parts)
    mixed = shared(moved(student), teacher)
    assert all(not torch.allclose(loss.parts[name], mixed.parts[name], atol=1e-4) for name in loss.parts)


@pytest.mark.parametrize("name", ["global", "local", "maps"])
def test_an_estimate_of_weight_0_is_not_built(student: ConvNet, teacher: Objective, data: DataSpec, name: str) -> None:
    config = build(SharedInformationConfig, {f"{name}_weight": 0.0}, "mimkd")
    shared = SharedInformation(student, teacher, data, config)
    assert set(shared.critics) == {"global", "local", "maps"} - {name}


def test_maps_are_not_read_for_the_global_estimate_alone(
    student: ConvNet, teacher: Objective, data: DataSpec, images: Tensor
) -> None:
    config = SharedInformationConfig(local_weight=0.0, maps_weight=0.0, teacher_map="none of them")
    shared = SharedInformation(student, teacher, data, config)
    assert [layers.maps for layers in shared.read(student, images)] == [{}, {}]


def test_gradients_reach_the_student_and_the_critics_but_not_the_teacher(
    student: ConvNet, teacher: Objective, data: DataSpec, images: Tensor
) -> None:
    teacher.requires_grad_(True)
    shared = SharedInformation(student, teacher, data, SharedInformationConfig(units=16))
    shared(*shared.read(student, images)).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())
    assert all(p.grad is not None for p in shared.parameters())
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(("shift", "least", "most"), [(0, (0.8, 0.3, 0.9), CEILING), (1, (-9, -9, -9), 0.05)])
def test_a_copy_of_the_teacher_nears_the_ceiling_and_a_teacher_of_other_images_stays_at_zero(
    teacher: Objective, data: DataSpec, digits: Tensor, shift: int, least: tuple[float, float, float], most: float
) -> None:
    for _ in range(30):
        teacher.train().encoder(digits)  # the statistics of batch norm
    shared = SharedInformation(teacher.encoder, teacher.eval(), data, SharedInformationConfig(units=128)).train()
    optimizer = torch.optim.Adam(shared.parameters(), lr=1e-2)
    rng = torch.Generator().manual_seed(0)

    def loss_of(images: Tensor) -> Loss:  # the teacher gets each image, or the next one
        student, taught = shared.read(teacher.encoder, images)
        maps = {name: local_map.roll(shift, 0) for name, local_map in taught.maps.items()}
        loss: Loss = shared(student, Layers(taught.features.roll(shift, 0), maps))
        return loss

    for _ in range(60):
        optimizer.zero_grad()
        total = loss_of(digits[torch.randint(512, (64,), generator=rng)]).total
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    shared.eval()
    reached = [value.item() for value in loss_of(digits[512:]).parts.values()]  # of images that were not trained on
    assert all(low < value < most for low, value in zip(least, reached, strict=True)), reached


def test_a_teacher_of_images_of_another_shape_is_refused(
    student: ConvNet, make_teacher: Callable[[DataSpec], Objective]
) -> None:
    colour = DataSpec(shape=(3, 8, 8), splits={"train": 8}, num_classes=10)
    grey = DataSpec(shape=(1, 8, 8), splits={"train": 8}, num_classes=10)
    message = r"the teacher cannot read inputs of shape \(1, 8, 8\): .* Name a teacher of the same dataset"
    with pytest.raises(ConfigError, match=message):
        SharedInformation(student, make_teacher(colour), grey, SharedInformationConfig())
