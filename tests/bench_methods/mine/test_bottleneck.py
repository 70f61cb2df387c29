import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder
from bench_methods.mine.bottleneck import BottleneckViews, MINEBottleneck, MINEBottleneckConfig
from bench_methods.mine.information import batch_information

IMAGES = DataSpec(shape=(1, 8, 8), splits={"train": 640}, num_classes=10, mean=(0.3,), std=(0.4,), views="glyph")
VECTORS = DataSpec(shape=(5,), splits={"train": 64}, num_classes=3)
NOISES = ["additive", "gaussian"]


class Small(Encoder):
    """Two layers on the raw values of images or vectors."""

    dim = 24

    def __init__(self, data: DataSpec) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(data.shape), 48), nn.ReLU(), nn.Linear(48, 24))

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"last": self(inputs)[..., None]}


def build(data: DataSpec = IMAGES, **config: Any) -> MINEBottleneck:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return MINEBottleneck(Small(data), data, MINEBottleneckConfig(**{"output_dim": 6, "units": 32, **config}))


def views_of(method: MINEBottleneck, data: DataSpec = IMAGES, n: int = 12, seed: int = 0) -> BottleneckViews:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % (data.num_classes or 1)
    return method.make_views(Batch(torch.rand(n, *data.shape, generator=rng), torch.arange(n), labels), rng)


@pytest.mark.parametrize("data", [IMAGES, VECTORS])
@pytest.mark.parametrize("noise", NOISES)
def test_both_losses_equal_their_formulas(data: DataSpec, noise: str) -> None:
    method = build(data, encoder_noise=noise, beta=0.7, noise=0.5)
    views = views_of(method, data)
    x = views.inputs
    if noise == "additive":
        z = method.head(method.encoder(x + 0.5 * (0.4 if data is IMAGES else 1.0) * views.encoder_noise))
    else:
        both = method.head(method.encoder(x))
        z = both[:, :6] + torch.log1p(both[:, 6:].exp()) * views.encoder_noise
    values = ((x - 0.3) / 0.4 if data is IMAGES else x).flatten(1)
    information, _ = batch_information(method.critic, values, z, torch.tensor(-math.inf), "dv", views.critic_noise)
    cross_entropy = F.cross_entropy(method.classifier(z), views.labels)
    assert method.eval()(views, "critic").total.item() == pytest.approx(-information.item(), abs=1e-5)
    assert method(views, "model").total.item() == pytest.approx((cross_entropy + 0.7 * information).item(), abs=1e-5)


def test_players_share_no_parameter_and_the_critic_takes_the_first_step() -> None:
    critic, model = build().players()
    assert (critic.name, model.name) == ("critic", "model")
    owned = [{id(p) for p in player.parameters} for player in (critic, model)]
    assert not owned[0] & owned[1]
    assert sum(map(len, owned)) == len(list(build().parameters()))


def test_the_model_lowers_the_information_that_the_critic_raises() -> None:
    """One step of each on the information alone moves the estimate in its own direction."""
    for name, sign in (("critic", 1), ("model", -1)):
        method = build(beta=1e6)
        views = views_of(method, n=64)
        player = next(player for player in method.players() if player.name == name)
        before = method(views, "critic").parts["information"].item()
        method.log_average.fill_(-math.inf)
        gradients = torch.autograd.grad(method(views, name).total, list(player.parameters), allow_unused=True)
        length = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
        with torch.no_grad():
            for parameter, gradient in zip(player.parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(1e-2 / length * gradient)
        assert sign * (method(views, "critic").parts["information"].item() - before) > 0


def test_only_the_critic_moves_the_running_average() -> None:
    method = build()
    method(views_of(method), "model")
    assert method.log_average.item() == -math.inf
    method(views_of(method), "critic")
    assert math.isfinite(method.log_average.item())


@pytest.mark.parametrize("noise", NOISES)
def test_embeddings_have_no_noise(noise: str) -> None:
    method, x = build(encoder_noise=noise).eval(), torch.rand(3, 1, 8, 8)
    embedded = method.embed(x)
    assert {name: tuple(rows.shape) for name, rows in embedded.items()} == {"features": (3, 24), "embedding": (3, 6)}
    assert torch.equal(embedded["embedding"], method.embed(x)["embedding"])


def trained(beta: float) -> tuple[float, float]:
    """Return accuracy and information, means over the last steps of a short training on digits."""
    digits = load_digits()
    images = torch.from_numpy(digits.images[:640] / 16).float()[:, None]
    labels = torch.from_numpy(digits.target[:640]).long()
    method, rng = build(beta=beta, output_dim=16), torch.Generator().manual_seed(0)
    players = method.players()
    optimizers = [torch.optim.Adam(player.parameters, 3e-3) for player in players]
    accuracies, values = list[float](), list[float]()
    for _ in range(250):
        rows = torch.randperm(640, generator=rng)[:64]
        views = method.make_views(Batch(images[rows], rows, labels[rows]), rng)
        for player, optimizer in zip(players, optimizers, strict=True):
            loss = method(views, player.name)
            method.zero_grad()
            torch.autograd.backward(loss.total)
            optimizer.step()
        accuracies.append(loss.parts["accuracy"].item())
        values.append(loss.parts["information"].item())
    return sum(accuracies[-30:]) / 30, sum(values[-30:]) / 30


def test_it_learns_labels_and_a_large_beta_leaves_less_information() -> None:
    accuracy, information = trained(beta=0.0)
    tight_accuracy, tight_information = trained(beta=0.5)
    assert accuracy > 0.9
    assert tight_accuracy > 0.8
    assert tight_information < information - 0.2


def test_data_without_classes_and_of_other_kinds_are_refused_in_words() -> None:
    config = MINEBottleneckConfig()
    assert MINEBottleneck.skip_reason(IMAGES, config) is None
    unlabelled = DataSpec(shape=(4,), splits={"train": 9})
    assert MINEBottleneck.skip_reason(unlabelled, config) == "needs one class for each item"
    pairs = DataSpec(shape=(), splits={"train": 9}, kind="pairs")
    assert MINEBottleneck.skip_reason(pairs, config) == "needs images or vectors"
    with pytest.raises(ValueError, match="the data has none; see skip_reason"):
        build(unlabelled)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"beta"):
        MINEBottleneckConfig(beta=-1.0)
