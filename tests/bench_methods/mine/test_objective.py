import math
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder
from bench_core.nn.mutual_information import nwj
from bench_methods.mine.objective import MINE, MINEConfig, bench_objectives

IMAGES = DataSpec(shape=(1, 8, 8), splits={"train": 640}, num_classes=10, mean=(0.3,), std=(0.4,), views="glyph")
VECTORS = DataSpec(shape=(5,), splits={"train": 64})


class Small(Encoder):
    """Two layers on the raw values of images or vectors."""

    dim = 12

    def __init__(self, data: DataSpec) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(data.shape), 32), nn.ReLU(), nn.Linear(32, 12))

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"last": self(inputs)[..., None]}


def build(data: DataSpec = IMAGES, **config: Any) -> MINE:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return MINE(Small(data), data, MINEConfig(**{"output_dim": 6, "units": 32, **config}))


def inputs_of(data: DataSpec, n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, *data.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("data", [IMAGES, VECTORS])
def test_the_loss_is_the_formula_on_the_values_of_the_input(data: DataSpec) -> None:
    method, x, n = build(data), inputs_of(data, 4), 4
    views = method.make_views(Batch(x, torch.arange(n)), torch.Generator())
    z = method.head(method.encoder(x))
    values = ((x - 0.3) / 0.4 if data is IMAGES else x).flatten(1)
    joint = method.critic(values, z)
    others = torch.stack([method.critic(values[[i]], z[[i - 1]])[0] for i in range(n)])
    product = (joint.exp() / n + (n - 1) / n * others.exp()).mean()
    assert method(views).total.item() == pytest.approx((product.log() - joint.mean()).item(), abs=1e-5)


def test_the_f_form_is_nguyens_bound() -> None:
    method, x = build(estimator="f"), inputs_of(IMAGES, 2)
    z, values = method.head(method.encoder(x)), method.values(x).flatten(1)
    scores = torch.stack([method.critic(values[[i, i]], z) for i in range(2)])
    assert method(x).total.item() == pytest.approx(-nwj(scores.diagonal() + 1, scores + 1).item(), abs=1e-5)


def test_the_running_average_is_part_of_the_state_and_moves_in_training_only() -> None:
    method, x = build(), inputs_of(IMAGES, 16)
    assert method.state_dict()["log_average"].item() == -math.inf
    method.eval()(x)
    assert method.log_average.item() == -math.inf
    method.train()(x)
    first = method.log_average.item()
    method(inputs_of(IMAGES, 16, seed=1))
    assert math.isfinite(first)
    assert method.log_average.item() != first


def test_the_order_of_values_in_the_input_has_no_meaning_for_the_loss() -> None:
    """Permuting the input's values and the weights that read them changes nothing."""
    method, x = build(VECTORS), inputs_of(VECTORS, 8)
    order = torch.tensor([3, 1, 4, 0, 2])
    before = method(x).total.item()
    assert isinstance(method.encoder, Small)
    first, critic = method.encoder.layers[1], method.critic.layers[0]
    assert isinstance(first, nn.Linear)
    assert isinstance(critic, nn.Linear)
    with torch.no_grad():
        first.weight.copy_(first.weight[:, order])
        critic.weight[:, :5] = critic.weight[:, order]
    method.log_average.fill_(-math.inf)
    assert method(x[:, order]).total.item() == pytest.approx(before, abs=1e-5)


def test_log_of_the_batch_is_logged_as_the_ceiling_and_a_constant_representation_falls_below_the_floor() -> None:
    method, x = build(), inputs_of(IMAGES, 10)
    loss = method(x)
    assert loss.ceilings == {"information": pytest.approx(math.log(10))}
    with torch.no_grad():
        method.head.weight.zero_()
    collapsed = method(x)
    assert collapsed.parts["information"].item() <= 1e-2 < collapsed.floors["information"]


def test_training_finds_information_and_stays_below_the_ceiling() -> None:
    images = torch.from_numpy(load_digits().images[:640] / 16).float()[:, None]
    method, rng = build(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(method.parameters(), 2e-3)
    values = list[float]()
    for _ in range(200):
        loss = method(images[torch.randperm(640, generator=rng)[:64]])
        optimizer.zero_grad()
        torch.autograd.backward(loss.total)
        optimizer.step()
        values.append(loss.parts["information"].item())
    assert 1.5 < sum(values[-20:]) / 20 <= math.log(64)


def test_other_kinds_of_data_are_refused_in_words() -> None:
    assert MINE.skip_reason(IMAGES, MINEConfig()) is None
    assert MINE.skip_reason(VECTORS, MINEConfig()) is None
    nodes = DataSpec(shape=(3,), splits={"train": 9}, kind="nodes")
    assert MINE.skip_reason(nodes, MINEConfig()) == "needs images or vectors"
    assert set(bench_objectives()) == {"mine", "mine_bottleneck"}
