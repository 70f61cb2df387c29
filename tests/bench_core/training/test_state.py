import pytest
import torch
from torch import Tensor, nn

from bench_core import Loss
from bench_core.devices import to_channels_last
from bench_core.training.checkpoints import pack, unpack
from bench_core.training.kept_weights import KeptWeights
from bench_core.training.state import Counters, TrainingState

CPU = torch.device("cpu")


def training(net: nn.Module, seed: int = 0) -> TrainingState:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return TrainingState(net, {"main": [optimizer]}, {"shuffle": torch.Generator().manual_seed(seed)}, CPU)


def test_error_has_the_last_lines_of_the_log_as_notes() -> None:
    state = training(nn.Linear(2, 2))
    state.counters.log = [{"step": step} for step in range(8)]
    with pytest.raises(ValueError, match="diverged") as raised, state.log_on_failure():
        raise ValueError("diverged")
    assert raised.value.__notes__ == [f'log: {{"step": {step}}}' for step in (3, 4, 5, 6, 7)]


def test_state_within_an_epoch_is_loaded_as_it_was_saved() -> None:
    saved, loaded = training(nn.Linear(2, 2), seed=3), training(nn.Linear(2, 2))
    shuffle = saved.generators["shuffle"]
    saved.counters.begin_epoch(shuffle)
    order = torch.randperm(9, generator=shuffle)
    saved.counters.notes = {"momentum": 0.9}
    for total in (1.0, 2.0):
        saved.counters.end_step({"main": Loss(torch.tensor(total), {"part": torch.tensor(0.5)}, {"part": 1.0})})
    loaded.load_state_dict(unpack(pack(saved.state_dict())))
    counters = loaded.counters
    assert (counters.epoch, counters.batch, counters.step) == (0, 2, 2)
    assert counters.notes == {"momentum": 0.9}
    assert [loss["main"].total.item() for loss in counters.losses] == [1.0, 2.0]
    assert counters.losses[0]["main"].ceilings == {"part": 1.0}
    assert torch.equal(torch.randperm(9, generator=loaded.generators["shuffle"]), order)  # the order is drawn again


def test_seconds_of_earlier_processes_are_added() -> None:
    counters = Counters(seconds_before=100.0, epoch_seconds_before=10.0)
    assert 100 <= counters.seconds() < 110
    assert 10 <= counters.epoch_seconds() < 20
    counters.begin_epoch(torch.Generator())
    assert counters.epoch_seconds() < 10
    assert counters.seconds() >= 100


def test_loaded_moments_have_the_memory_layout_of_their_parameters() -> None:
    def trained() -> tuple[TrainingState, Tensor]:
        convolution = to_channels_last(nn.Conv2d(3, 4, 3))
        convolution(torch.ones(1, 3, 4, 4)).sum().backward()
        state = training(convolution)
        state.optimizers["main"][0].step()
        return state, convolution.weight

    (saved, _), (loaded, weight) = trained(), trained()
    loaded.load_state_dict(unpack(pack(saved.state_dict())))
    momentum = loaded.optimizers["main"][0].state[weight]["momentum_buffer"]
    assert momentum.stride() == weight.stride()
    assert momentum.is_contiguous(memory_format=torch.channels_last)


def test_each_resumption_is_counted_and_each_version_of_the_code_is_named_once() -> None:
    net = nn.Linear(2, 2)
    state = training(net).state_dict()
    for version in ("a", "b", "b", "a", "c"):  # the code of one process after the other
        resumed = training(net)
        resumed.sources = {"method": version}
        resumed.load_state_dict(unpack(pack(state)))
        state = resumed.state_dict()
    assert resumed.counters.resumed == 5
    assert resumed.counters.earlier_sources == [{"method": "b"}, {"method": "a"}]


def test_a_state_of_older_code_counts_as_resumed_and_names_no_code() -> None:
    state = training(nn.Linear(2, 2)).state_dict()
    for name in ("sources", "resumed", "earlier_sources"):
        del state[name]
    resumed = training(nn.Linear(2, 2))
    resumed.load_state_dict(unpack(pack(state)))
    assert (resumed.counters.resumed, resumed.counters.earlier_sources) == (1, [])


def test_a_state_at_the_end_of_an_epoch_goes_on_with_the_generator_as_it_is() -> None:
    saved, loaded = training(nn.Linear(2, 2), seed=3), training(nn.Linear(2, 2))
    shuffle = saved.generators["shuffle"]
    saved.counters.begin_epoch(shuffle)
    torch.randperm(9, generator=shuffle)
    saved.counters.end_step({"main": Loss(torch.tensor(1.0))})
    saved.counters.end_epoch({"step": 1})
    loaded.load_state_dict(unpack(pack(saved.state_dict())))
    order = torch.randperm(9, generator=shuffle)
    assert torch.equal(torch.randperm(9, generator=loaded.generators["shuffle"]), order)  # of the next epoch


def test_moments_of_the_optimizer_are_loaded() -> None:
    saved, loaded = training(nn.Linear(2, 2)), training(nn.Linear(2, 2))
    (net,) = [state.objective for state in (saved,)]
    net(torch.ones(1, 2)).sum().backward()
    saved.optimizers["main"][0].step()
    loaded.load_state_dict(unpack(pack(saved.state_dict())))
    moments = [[state["momentum_buffer"] for state in s.optimizers["main"][0].state.values()] for s in (saved, loaded)]
    assert len(moments[1]) == 2
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*moments, strict=True))


def staged(*names: str) -> TrainingState:
    net = nn.Linear(2, 2)
    optimizers = {name: [torch.optim.SGD(net.parameters(), lr=0.1)] for name in names}
    generators = {"shuffle": torch.Generator().manual_seed(3)}
    return TrainingState(net, optimizers, generators, CPU, Counters(stage=names[0]), kept=KeptWeights(patience=2))


def test_state_within_a_later_stage_is_loaded_as_it_was_saved() -> None:
    saved, loaded = staged("a", "b"), staged("a", "b")
    for epoch in range(3):
        saved.begin_stage("a" if epoch < 2 else "b")
        assert saved.kept is not None
        saved.kept.before_last_step(saved.objective)
        saved.kept.end_epoch(epoch + 1, 1.0)
        saved.counters.end_epoch({})
    loaded.load_state_dict(unpack(pack(saved.state_dict())))
    assert (loaded.counters.stage, loaded.counters.stage_begin, loaded.counters.epoch) == ("b", 2, 3)
    assert loaded.kept is not None
    assert (loaded.kept.epoch, loaded.kept.loss, loaded.kept.patience) == (3, 1.0, 2)
    assert [loaded.stage_is_over(epochs) for epochs in (1, 2)] == [True, False]
    loaded.counters.epoch = 5
    assert loaded.stage_is_over(9)  # out of patience


def test_state_of_older_code_without_a_stage_goes_on_in_the_first() -> None:
    state = staged("a").state_dict()
    del state["kept"]
    loaded = staged("a", "b")
    loaded.load_state_dict(unpack(pack(state)))
    assert loaded.counters.stage == "a"
    assert loaded.kept == KeptWeights(patience=2)


def test_state_of_a_stage_that_the_method_does_not_have_is_refused_and_changes_no_weight() -> None:
    loaded = staged("a", "c")
    before = [value.clone() for value in loaded.objective.state_dict().values()]
    state = staged("b", "a").state_dict()
    with pytest.raises(ValueError, match="the method has no stage 'b'"):
        loaded.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(before, loaded.objective.state_dict().values(), strict=True))
