from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from bench_core import Objective
from bench_core.errors import CheckError
from bench_core.training.checkpoints import pack, unpack
from bench_core.training.kept_weights import KeptWeights, is_kept, make_kept_weights


def run(losses: list[float], patience: int | None = None) -> tuple[KeptWeights, nn.Linear, int]:
    """Train epochs of the given losses, each of which ends with weights of its number, until patience runs out."""
    kept, net, epoch = KeptWeights(patience), nn.Linear(1, 1, bias=False), 0
    for epoch, loss in enumerate(losses, 1):
        kept.before_last_step(net)
        nn.init.constant_(net.weight, epoch)
        kept.end_epoch(epoch, loss)
        if kept.is_out_of_patience(epoch):
            break
    return kept, net, epoch


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [([3.0, 2.0, 4.0], 2), ([1.0, 2.0], 1), ([3.0, 1.0, 1.0], 2), ([2.0, 3.0, 1.0], 3)],
)
def test_the_weights_before_the_step_of_the_epoch_with_the_least_loss_are_kept(losses: list[float], epoch: int) -> None:
    kept, net, _ = run(losses)
    assert (kept.epoch, kept.loss) == (epoch, min(losses))
    if epoch > 1:
        kept.restore(net)
        assert net.weight.item() == epoch - 1  # what the epoch before had ended with


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 8), (None, 8)])
def test_training_ends_after_so_many_epochs_without_a_lesser_loss(patience: int | None, epochs: int) -> None:
    losses = [3.0, 2.0, 2.5, 2.0, 1.0, 9.0, 9.0, 0.5]
    assert run(losses, patience)[2] == epochs


def test_weights_without_an_epoch_that_has_ended_stay_as_they_are() -> None:
    net = nn.Linear(1, 1)
    before = net.weight.item()
    kept = KeptWeights(patience=1)
    kept.before_last_step(net)
    nn.init.zeros_(net.weight)
    kept.restore(net)
    assert net.weight.item() == 0 != before
    assert not kept.is_out_of_patience(5)


def test_kept_weights_are_a_copy_also_of_buffers() -> None:
    kept, net = KeptWeights(), nn.BatchNorm1d(1)
    kept.before_last_step(net)
    net(torch.tensor([[1.0], [3.0]]))
    kept.end_epoch(1, 0.5)
    assert net.running_mean is not None
    assert net.running_mean.item() != 0
    kept.restore(net)
    assert net.running_mean.item() == 0


def test_loaded_content_goes_on_as_it_was_saved() -> None:
    kept, net, _ = run([3.0, 2.0, 2.5])
    state = unpack(pack(kept.state_dict()))
    assert is_kept(state)
    loaded = KeptWeights(patience=2)
    loaded.load_state_dict(state)
    assert (loaded.epoch, loaded.loss) == (2, 2.0)
    assert loaded.is_out_of_patience(4)
    loaded.restore(net)
    assert net.weight.item() == 1.0
    assert loaded.anew() == KeptWeights(patience=2)


@pytest.mark.parametrize("value", [{}, [], {"epoch": -1, "loss": 1.0, "weights": {}}, {"epoch": 1, "loss": 1.0}, 3])
def test_odd_content_is_noticed(value: object) -> None:
    assert not is_kept(value)


def of(keeps: str, patience: Any = None) -> KeptWeights | None:
    return make_kept_weights(cast(Objective, SimpleNamespace(keeps=keeps, patience=patience)))


def test_method_keeps_its_last_weights_or_those_of_the_least_loss() -> None:
    assert of("last") is None
    assert of("least_loss", 20) == KeptWeights(patience=20)


@pytest.mark.parametrize(
    ("keeps", "patience", "words"),
    [
        ("best", None, 'keeps of SimpleNamespace must be "last" or "least_loss", got \'best\''),
        ("least_loss", 0, "patience of SimpleNamespace must be a number of epochs >= 1 or None, got 0"),
        ("least_loss", "long", "or None, got 'long'"),
    ],
)
def test_other_values_are_refused(keeps: str, patience: Any, words: str) -> None:
    with pytest.raises(CheckError, match=words):
        of(keeps, patience)
