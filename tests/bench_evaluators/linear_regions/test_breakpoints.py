import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.evaluation.sign_patterns import count_distinct
from bench_evaluators.linear_regions.breakpoints import breakpoints, record_switches, relus


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer(weight: Tensor, bias: Tensor) -> nn.Sequential:
    linear = nn.Linear(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return nn.Sequential(linear, nn.ReLU())


def planes(units: int, dims: int) -> tuple[Tensor, Tensor]:
    """Draw generic hyperplanes."""
    rng = generator(units)
    return (torch.randn(units, dims, generator=rng, dtype=torch.float64), torch.randn(units, generator=rng).double())


def patterns(network: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([values > 0 for values in relus(record_switches(network, inputs))], 1)


class Residual(nn.Module):
    """Network with batch norm, a max-pool, a shortcut, and ReLUs that work in place, are called, or are leaky."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.relu, self.pool = nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.last = nn.Linear(6, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.pool(self.relu(self.norm(self.first(inputs))))
        values = self.relu(values + self.second(F.relu(self.second(values))))
        outputs: Tensor = F.leaky_relu(self.last(values.mean((2, 3))), 0.1)
        return outputs


def residual(seed: int = 0) -> Residual:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = Residual().double().train()
        network(torch.randn(64, 2, 8, 8, dtype=torch.float64) * 2)  # moments for the batch norm
    network.eval()
    return network


def ends() -> Tensor:
    return torch.randn(2, 2, 8, 8, generator=generator(3), dtype=torch.float64)


@pytest.mark.parametrize(("units", "dims", "regions"), [(10, 2, 56), (6, 3, 42), (7, 1, 8)])
def test_generic_hyperplanes_cut_space_into_the_known_number_of_regions(units: int, dims: int, regions: int) -> None:
    weight, bias = planes(units, dims)
    near = []
    for chosen in itertools.combinations(range(units), dims):  # every region has a corner: look around each
        rows = list(chosen)
        corner = torch.linalg.solve(weight[rows], -bias[rows])
        for side in itertools.product((-1e-7, 1e-7), repeat=dims):
            near.append(corner + torch.linalg.solve(weight[rows], torch.tensor(side, dtype=torch.float64)))
    assert sum(math.comb(units, k) for k in range(dims + 1)) == regions
    assert count_distinct(patterns(layer(weight, bias), torch.stack(near))) == regions


def test_breakpoints_of_one_layer_are_the_zeros_of_its_units() -> None:
    weight, bias = planes(10, 2)
    start, end = torch.tensor([[-9.0, -4.0], [8.0, 7.0]], dtype=torch.float64)
    expected = sorted(t for t in (-(weight @ start + bias) / (weight @ (end - start))).tolist() if 0 < t < 1)
    result = breakpoints(layer(weight, bias), start, end)
    assert len(expected) > 5
    assert result.times.tolist() == pytest.approx(expected, abs=1e-12)
    assert result.by_layer == [len(expected)]


def test_two_layers_by_hand() -> None:
    first = layer(torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.25, 0.75]))
    second = layer(torch.tensor([[1.0, 1.0]]), torch.tensor([-0.6]))
    # relu(t - 1/4) + relu(3/4 - t) is 3/4 - t, then 1/2, then t - 1/4: less .6 it is 0 at .15 and at .85.
    result = breakpoints(nn.Sequential(first, second), torch.zeros(1).double(), torch.ones(1).double())
    assert result.times.tolist() == pytest.approx([0.15, 0.25, 0.75, 0.85])
    assert result.by_layer == [2, 2]


def test_unit_that_switches_twice_between_equal_patterns_is_found() -> None:
    first = layer(torch.tensor([[1.0]]), torch.tensor([-0.5]))
    second = layer(torch.tensor([[-4.0], [3.0]]), torch.tensor([1.0, -1.0]))
    bend = nn.Sequential(first, second, layer(torch.tensor([[1.0, 1.0]]), torch.tensor([-0.1])))
    result = breakpoints(bend, torch.zeros(1).double(), torch.ones(1).double())
    # second: 1 - 4 r and 3 r - 1 with r = relu(t - 1/2): zeros at .75 and .5 + 1/3; third: off between .725 and .8667
    assert result.times.tolist() == pytest.approx([0.5, 0.725, 0.75, 0.5 + 1 / 3, 0.5 + 1.1 / 3])
    assert result.by_layer == [1, 2, 2]


@pytest.mark.parametrize("seed", [0, 1])
def test_between_breakpoints_and_pool_switches_any_network_is_linear(seed: int) -> None:
    network, (start, end) = residual(seed), ends()
    result = breakpoints(network, start, end)
    assert len(result.by_layer) == 4
    assert sum(count > 0 for count in result.by_layer) >= 3

    def at(times: Tensor) -> Tensor:
        return torch.lerp(start, end, times.view(-1, 1, 1, 1))

    grid = torch.linspace(0, 1, 4001, dtype=torch.float64)
    bits = torch.cat([patterns(network, at(part)) for part in torch.split(grid, 500)])
    changed = (bits[1:] != bits[:-1]).any(1)  # all cells of the grid that hold a breakpoint, but for double crossings
    cells = torch.bincount((result.times * 4000).long(), minlength=4000) > 0
    assert (changed & ~cells).sum() == 0
    assert (cells & ~changed).sum() <= 2
    pieces = torch.cat([torch.zeros(1).double(), result.times, torch.ones(1).double()])
    inside = (pieces[1:] + pieces[:-1]) / 2
    thirds = [(2 * pieces[:-1] + pieces[1:]) / 3, inside, (pieces[:-1] + 2 * pieces[1:]) / 3]
    same = [patterns(network, at(times)) for times in thirds]
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[1], same[2])


def test_without_max_pools_the_output_is_affine_on_every_piece() -> None:
    network, (start, end) = residual(), ends()
    network.pool = nn.AvgPool2d(2)  # type: ignore[assignment]  # any layer will do
    result = breakpoints(network, start, end)
    times = torch.cat([torch.zeros(1).double(), result.times, torch.ones(1).double()])
    values = [
        network(start + t.view(-1, 1, 1, 1) * (end - start))
        for t in (times[:-1], (times[:-1] + times[1:]) / 2, times[1:])
    ]
    assert torch.allclose(values[1], (values[0] + values[2]) / 2, atol=1e-12)


def test_reversed_segment_has_the_same_breakpoints_and_parts_add_up() -> None:
    network, (start, end) = residual(), ends()
    forth, back = breakpoints(network, start, end), breakpoints(network, end, start)
    assert forth.times.tolist() == pytest.approx((1 - back.times.flip(0)).tolist(), abs=1e-8)
    middle = torch.lerp(start, end, 0.37)
    parts = [len(breakpoints(network, *pair).times) for pair in ((start, middle), (middle, end))]
    assert sum(parts) == len(forth.times)


def test_positive_factors_of_a_layer_change_nothing() -> None:
    network, (start, end) = residual(), ends()
    scaled = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in (scaled.norm.weight, scaled.norm.bias):
            parameter.mul_(3.0)
        for module in (scaled.second, scaled.last):
            assert module.bias is not None
            module.bias.mul_(3.0)
    assert len(breakpoints(scaled, start, end).times) == len(breakpoints(network, start, end).times)


def test_units_that_switch_together_are_one_breakpoint() -> None:
    weight, bias = planes(4, 2)
    twice = layer(torch.cat([weight, 2 * weight]), torch.cat([bias, 2 * bias]))
    start, end = torch.tensor([[-9.0, -4.0], [8.0, 7.0]], dtype=torch.float64)
    result = breakpoints(twice, start, end)
    assert result.by_layer == [2 * len(result.times)]
    assert len(result.times) == len(breakpoints(layer(weight, bias), start, end).times) > 1


def test_equal_ends_and_linear_networks_have_no_breakpoints() -> None:
    start, end = ends()
    assert breakpoints(residual(), start, start).times.tolist() == []
    assert breakpoints(nn.Flatten(), start, end).by_layer == []


def test_every_way_to_call_a_relu_is_recorded_and_outputs_stay_the_same() -> None:
    inputs = torch.tensor([[-1.0, 2.0]])

    def network(x: Tensor) -> Tensor:
        total = nn.ReLU()(x.clone()) + nn.ReLU(inplace=True)(x.clone()) + F.relu(x) + torch.relu(x) + x.relu()
        outputs: Tensor = (
            total + x.clone().relu_() + F.leaky_relu(x, 0.5) + F.max_pool2d(x[:, None, None], (1, 2))[:, 0, 0]
        )
        return outputs

    with torch.no_grad():
        assert network(inputs).tolist() == [[1.5, 16.0]]
    seen = record_switches(network, inputs)
    assert len(relus(seen)) == 7
    assert len(seen) == 8
    assert all(values.tolist() == inputs.tolist() for values in relus(seen))
