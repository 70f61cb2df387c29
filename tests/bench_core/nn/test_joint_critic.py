import pytest
import torch
from torch import Tensor

from bench_core.nn.joint_critic import NOISE, JointCritic, shifted_scores


def rows(n: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def critic() -> JointCritic:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return JointCritic(3, 2, 8)


def test_a_score_is_three_layers_on_both_sides_of_the_pair() -> None:
    T, x, y = critic(), rows(4, 3), rows(4, 2, 1)
    first, second, last = ([p.detach() for p in layer.parameters()] for layer in T.layers)
    for i, score in enumerate(T(x, y).tolist()):
        hidden = torch.relu(first[0] @ torch.cat([x[i], y[i]]) + first[1])
        hidden = torch.relu(second[0] @ hidden + second[1])
        assert score == pytest.approx(float(last[0][0] @ hidden + last[1]), abs=1e-6)


def test_noise_is_added_to_what_each_layer_reads() -> None:
    T, x, y = critic(), rows(4, 3), rows(4, 2, 1)
    noise = T.draw_noise(4, torch.Generator().manual_seed(0))
    assert [tuple(part.shape) for part in noise] == [(4, 5), (4, 8), (4, 8)]
    nothing = [torch.zeros_like(part) for part in noise]
    assert torch.equal(T(x, y, nothing), T(x, y))
    on_inputs = [noise[0], *nothing[1:]]
    moved = [side + NOISE[0] * part for side, part in zip((x, y), (noise[0][:, :3], noise[0][:, 3:]), strict=True)]
    assert torch.allclose(T(x, y, on_inputs), T(*moved), atol=1e-6)
    assert not torch.allclose(T(x, y, noise), T(x, y, on_inputs), atol=1e-3)


def test_shifts_pair_each_item_with_others_and_never_with_its_own_partner() -> None:
    def same(x: Tensor, y: Tensor) -> Tensor:
        return 10 * x[:, 0] + y[:, 0]

    x = torch.arange(3.0)[:, None]
    assert shifted_scores(same, x, x, 2).tolist() == [2, 10, 21, 1, 12, 20]  # type: ignore[arg-type]  # any function


@pytest.mark.parametrize("shifts", [0, 3])
def test_more_partners_than_other_rows_are_refused(shifts: int) -> None:
    with pytest.raises(ValueError, match="shifts must be from 1 to 2, the number of other rows"):
        shifted_scores(critic(), rows(3, 3), rows(3, 2), shifts)
