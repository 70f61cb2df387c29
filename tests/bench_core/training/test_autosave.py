import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from bench_core import Loss
from bench_core.errors import StoreError
from bench_core.training.autosave import CheckpointAutosave, NoAutosave, make_autosave
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.kept_weights import KeptWeights
from bench_core.training.state import Counters, TrainingState
from bench_core.training.stopping import Stop, Stopped


def training(step: int = 0, batch: int = 0) -> TrainingState:
    generators = {"shuffle": torch.Generator().manual_seed(step)}
    counters = Counters(epoch=0, batch=batch, step=step, shuffle=generators["shuffle"].get_state())
    optimizers: dict[str, list[torch.optim.Optimizer]] = {"main": [], "more": []}
    return TrainingState(nn.Linear(2, 2), optimizers, generators, torch.device("cpu"), counters, kept=KeptWeights())


def files(folder: Path) -> list[str]:
    return sorted(path.name[:12] for path in folder.iterdir())


def test_due_checkpoints_are_saved_after_each_step_but_the_last_of_an_epoch(tmp_path: Path) -> None:
    state = training()
    autosave = make_autosave(Checkpoints(tmp_path, interval=0.0), state, steps_per_epoch=2)
    state.counters.step = state.counters.batch = 2  # the epoch's last batch: `after_epoch` saves
    autosave.after_step()
    assert files(tmp_path) == []
    state.counters.end_epoch({})
    autosave.after_epoch()
    assert files(tmp_path) == ["000000000002"]
    losses = {"main": Loss(torch.tensor(1.0))}
    state.counters.begin_epoch(state.generators["shuffle"])
    state.counters.end_step(losses)
    autosave.after_step()
    assert files(tmp_path) == ["000000000002", "000000000003"]


def test_resumed_training_has_the_weights_and_counters_of_the_saved_one(tmp_path: Path) -> None:
    saved, resumed = training(step=2), training()
    CheckpointAutosave(Checkpoints(tmp_path, interval=0.0), saved, 2).after_epoch()
    CheckpointAutosave(Checkpoints(tmp_path), resumed, 2).resume()
    assert resumed.counters.step == 2
    assert isinstance(saved.objective.weight, nn.Parameter)
    assert torch.equal(resumed.objective.weight, saved.objective.weight)  # type: ignore[arg-type]  # a parameter, too


def test_checkpoint_of_another_method_is_refused_with_what_to_do(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"objective": {"alien": torch.zeros(3)}})
    with pytest.raises(StoreError, match=r"do not fit this method.*Delete that folder and run again\."):
        CheckpointAutosave(checkpoints, training(), 2).resume()


@pytest.mark.parametrize("value", [None, "x", 7, -1.5, [1], [{"a": 1}], {"a": [1]}, 10**400, float("nan")])
@pytest.mark.parametrize("name", list(training().state_dict()))
def test_odd_field_of_a_checkpoint_is_refused_or_harmless_and_changes_no_weight(
    name: str, value: object, tmp_path: Path
) -> None:
    checkpoints, state = Checkpoints(tmp_path), training()
    weight = state.objective.state_dict()["weight"].clone()
    checkpoints.save(3, {**training(step=3).state_dict(), name: value})
    try:
        CheckpointAutosave(checkpoints, state, 2).resume()
    except StoreError:
        assert state.counters.step == 0
    else:
        optional = ("cuda", "notes", "losses", "sources", "resumed", "earlier_sources", "stage", "kept")
        assert name in optional or isinstance(value, list)
        return
    if name not in ("objective", "optimizers", "generators", "torch"):  # what torch loads is checked by torch
        assert torch.equal(state.objective.state_dict()["weight"], weight)


def test_odd_sources_of_a_checkpoint_of_other_code_are_not_named(tmp_path: Path) -> None:
    messages: list[str] = []
    for sources in ({"method": "a"}, {"kitchen": 1}):
        Checkpoints(tmp_path, sources={"method": "b"}).save(1, {"sources": sources})
        assert Checkpoints(tmp_path, warn=messages.append, sources={"method": "c"}).load_latest() is None
        for path in tmp_path.iterdir():
            path.unlink()
    assert "other code (method)" in messages[0]
    assert "other code;" in messages[1]


def test_checkpoint_that_cannot_be_unpacked_starts_the_training_again(tmp_path: Path) -> None:
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    checkpoints.save(3, {})
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"")
    state = training()
    CheckpointAutosave(checkpoints, state, 2).resume()
    assert state.counters.step == 0
    assert "training starts again from step 0" in messages[-1]


def test_stop_within_an_epoch_is_saved_before_it_is_raised(tmp_path: Path) -> None:
    stop = Stop()
    autosave = make_autosave(Checkpoints(tmp_path, interval=1e6, stop=stop), training(step=1), 2)
    autosave.after_step()
    assert files(tmp_path) == []
    stop._number = signal.SIGTERM
    with pytest.raises(Stopped):
        autosave.after_step()
    assert files(tmp_path) == ["000000000001"]


def test_without_checkpoints_nothing_is_saved() -> None:
    autosave = make_autosave(None, training(), 2)
    assert type(autosave) is NoAutosave
    autosave.resume()
    autosave.after_step()
    autosave.after_epoch()
