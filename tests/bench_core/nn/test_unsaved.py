"""A held module follows its owner's device, and is hidden from all that trains or saves the owner."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from bench_core.nn.unsaved import Unsaved


class Owner(nn.Module):
    """Module with a layer of its own and a held network with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(3, 2)
        self.held = Unsaved(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval())


@pytest.fixture
def owner() -> Owner:
    torch.manual_seed(0)
    return Owner()


def test_the_held_module_is_neither_trained_nor_saved(owner: Owner) -> None:
    names = ["own.weight", "own.bias"]
    assert [name for name, _ in owner.named_parameters()] == names
    assert list(owner.state_dict()) == names
    assert list(owner.buffers()) == []
    assert not any(isinstance(module, nn.BatchNorm1d) for module in owner.modules())


@pytest.mark.parametrize("mode", [True, False])
def test_the_held_module_stays_in_its_mode(owner: Owner, mode: bool) -> None:
    owner.held.module.train(not mode)
    owner.train(mode)
    assert owner.held.training is mode
    assert [module.training for module in owner.held.module.modules()] == [not mode] * 3


def test_a_zeroed_gradient_or_frozen_owner_leaves_the_held_module_alone(owner: Owner) -> None:
    inputs = torch.rand(4, 3)
    owner.held.module(inputs).sum().backward()
    owner.zero_grad()
    owner.requires_grad_(False)
    weight = next(owner.held.module.parameters())
    assert weight.grad is not None
    assert weight.requires_grad


def test_the_held_module_moves_to_the_device_of_its_owner(owner: Owner) -> None:
    assert owner.to("meta") is owner
    tensors = owner.held.module.state_dict()
    assert len(tensors) == 7
    assert {tensor.device.type for tensor in tensors.values()} == {"meta"}


def test_the_held_module_is_converted_to_the_type_of_its_owner(owner: Owner) -> None:
    owner.double()
    assert owner.held.module(torch.rand(2, 3, dtype=torch.float64)).dtype == torch.float64


def test_a_copy_has_a_held_module_of_its_own(owner: Owner) -> None:
    twin = copy.deepcopy(owner)
    weight, copied = (next(module.held.module.parameters()) for module in (owner, twin))
    with torch.no_grad():
        copied.zero_()
    assert weight.abs().sum() > 0
    assert not twin.held.module.training


def test_a_checkpoint_of_the_owner_loads_and_leaves_the_held_module_unchanged(owner: Owner) -> None:
    file = io.BytesIO()
    torch.save(owner.state_dict(), file)
    torch.manual_seed(1)
    other = Owner()
    before = {name: value.clone() for name, value in other.held.module.state_dict().items()}
    file.seek(0)
    assert str(other.load_state_dict(torch.load(file, weights_only=True))) == "<All keys matched successfully>"
    assert torch.equal(other.own.weight, owner.own.weight)
    after: dict[str, Tensor] = other.held.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
