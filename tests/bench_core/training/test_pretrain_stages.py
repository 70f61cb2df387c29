"""Trainings of several stages or that end with the weights of the least loss, also where they are stopped."""

import itertools
import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, DataSpec, EpochContext, Loss, NoConfig, Objective, Player, Recipe, Split, Stage
from bench_core.conformance.toys import TinyEncoder
from bench_core.data import open_split
from bench_core.errors import RequestError
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop, Stopped
from bench_core.training.trial import step_fault

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 48})
CPU = torch.device("cpu")
TIMES = {"seconds", "images_per_s", "peak_memory_gib"}


class Base(Objective):
    """Draws noise in each step, has dropout, and records what its hooks are given."""

    noise = 0.1

    def __init__(self, encoder: Any, data: DataSpec, config: Any) -> None:
        super().__init__(encoder, data, config)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(encoder.dim, 3))
        self.calls: list[tuple[str, str, int, int]] = []
        self.after: list[Tensor] = []

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs + self.noise * torch.rand(batch.inputs.shape, generator=rng)

    def forward(self, views: Any, player: str = "main") -> Loss:
        features = self.encoder(views)
        if player == "heads":
            return Loss((self.head(features) - 1).square().mean())
        return Loss((features - 1).square().mean(), {"size": features.mean()})

    def begin_stage(self, context: EpochContext) -> None:
        self.calls.append(("stage", context.stage, context.epoch, context.step))

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        self.calls.append(("epoch", context.stage, context.epoch, context.step))
        return {}

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        self.calls.append(("end", context.stage, context.epoch, context.step))
        self.after = [value.clone() for value in self.state_dict().values()]
        return {}


class Staged(Base):
    """Trains its encoder first and its head afterwards, on features that stay."""

    def stages(self) -> list[Stage]:
        first = Player("features", list(self.encoder.parameters()))
        second = Player("heads", list(self.head.parameters()))
        return [
            Stage(name="bottom", players=[first]),
            Stage(name="top", players=[second], share=2.0, recipe={"learning_rate": 0.02}),
        ]


class Keeping(Base):
    """Ends with the weights of the least loss."""

    keeps = "least_loss"


class StagedKeeping(Staged):
    """Ends each stage with the weights of its least loss."""

    keeps = "least_loss"
    patience = 2


class Runner:
    """Trains methods from the same seed in a folder of checkpoints, and stops them where it is asked to."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.images = torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    def __call__(
        self, cls: type[Base], stops_after: int | None = None, *, interval: float = 1e6, **recipe: Any
    ) -> tuple[Base, dict[str, Any], list[dict[str, Any]]]:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            method = cls(TinyEncoder(DATA), DATA, NoConfig())
        stop, steps, after_step = Stop(), itertools.count(1), method.after_step

        def counted_step() -> None:
            after_step()
            if next(steps) == stops_after:
                stop.request(signal.SIGTERM)

        method.after_step = counted_step  # type: ignore[method-assign]  # of this object alone
        log = self.folder / "log.jsonl"
        checkpoints = Checkpoints(self.folder / "checkpoints", interval=interval, stop=stop)
        try:
            with stop.deferred():
                cost = pretrain(
                    method, open_split(Split(self.images), CPU), Recipe(**{**vars(self.recipe), **recipe}),
                    seed=0, device=CPU, precision="fp32", log=log, checkpoints=checkpoints,
                )  # fmt: skip
        except Stopped:
            return method, {}, []
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return method, cost, [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.fixture
def runner(tmp_path: Path) -> Callable[..., Runner]:
    """Return a function that makes a runner with an empty folder: runner("whole", epochs=3)."""

    def make(name: str = "run", **recipe: Any) -> Runner:
        (tmp_path / name).mkdir()
        values = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 16, "epochs": 6, **recipe}
        return Runner(tmp_path / name, Recipe(**values))

    return make


def same(a: nn.Module, b: nn.Module) -> list[str]:
    """Return the names of the values that differ between the states of two methods."""
    other = b.state_dict()
    return [name for name, value in a.state_dict().items() if not torch.equal(value, other[name])]


def test_hooks_and_log_know_the_stage(runner: Callable[..., Runner]) -> None:
    method, cost, log = runner()(Staged)
    assert method.calls == [
        ("stage", "bottom", 0, 0), ("epoch", "bottom", 0, 0), ("epoch", "bottom", 1, 3),
        ("stage", "top", 2, 6), *[("epoch", "top", epoch, 3 * epoch) for epoch in (2, 3, 4, 5)],
        ("end", "top", 6, 18),
    ]  # fmt: skip
    assert [line["stage"] for line in log] == ["bottom"] * 2 + ["top"] * 4
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert ["size" in line for line in log] == [True] * 2 + [False] * 4
    assert (cost["steps"], cost["epochs_trained"], cost["kept_epoch"]) == (18, 6, None)


def test_parameters_of_no_player_of_a_stage_stay_bit_for_bit(runner: Callable[..., Runner]) -> None:
    start = runner("none", epochs=0)(Staged)[0]
    stopped, _, _ = runner("first")(Staged, stops_after=6)  # the last step of the first stage
    whole, _, _ = runner("whole")(Staged)
    moved_first, moved_second = same(start, stopped), same(stopped, whole)
    assert {name.partition(".")[0] for name in moved_first} == {"encoder"}
    assert {name.partition(".")[0] for name in moved_second} == {"head"}
    assert len(moved_first) == 4
    assert len(moved_second) == 2


def test_learning_rate_runs_through_schedule_and_warm_up_in_each_stage(runner: Callable[..., Runner]) -> None:
    _, _, log = runner(schedule="linear", warmup_epochs=1.0)(Staged)
    rates = [line["learning_rate"] for line in log]  # at the last of three steps of each epoch
    assert rates == pytest.approx([0.01, 0.01 / 3, 0.02, 0.02 * (1 - 2 / 9), 0.02 * (1 - 5 / 9), 0.02 / 9])


@pytest.mark.parametrize("cls", [Staged, StagedKeeping, Keeping])
@pytest.mark.parametrize(
    "stops",
    [(2,), (6,), (8,), (6, 1, 4), (17,), (18,)],
    ids=["first stage", "boundary", "second stage", "thrice", "last epoch", "end"],
)
def test_resumed_training_ends_with_the_bits_and_the_log_of_one_not_stopped(
    cls: type[Base], stops: tuple[int, ...], runner: Callable[..., Runner]
) -> None:
    expected, cost, log = runner("whole")(cls)
    run = runner("stopped")
    for steps in stops:
        assert run(cls, stops_after=steps)[2] == []
    resumed, resumed_cost, resumed_log = run(cls)
    assert same(expected, resumed) == []
    assert resumed_log == log
    assert all(resumed_cost[name] == cost[name] for name in ("steps", "epochs_trained", "kept_epoch"))
    assert resumed_cost["resumed"] == len(stops)
    assert all(torch.equal(a, b) for a, b in zip(expected.after, resumed.after, strict=True))


def test_stage_is_begun_again_where_a_stopped_training_goes_on_in_it(runner: Callable[..., Runner]) -> None:
    run = runner()
    run(Staged, stops_after=10)
    calls = run(Staged)[0].calls
    assert calls[0] == ("stage", "top", 3, 10)
    assert [call for call in calls if call[0] == "stage"] == calls[:1]


def test_method_of_one_stage_names_none_in_log_and_checkpoint(runner: Callable[..., Runner]) -> None:
    run = runner(epochs=2)
    _, _, log = run(Base, interval=0.0)
    state = Checkpoints(run.folder / "checkpoints").load_latest()
    assert state is not None
    assert not {"stage", "kept"} & state.keys()
    assert all(not {"stage", "kept_epoch"} & line.keys() for line in log)


def test_with_one_step_an_epoch_the_kept_weights_are_those_of_the_logged_loss(runner: Callable[..., Runner]) -> None:
    class Exact(Keeping):
        """Has no noise, so that its loss is a function of its weights."""

        noise = 0.0

    run = runner(batch_size=48, optimizer="sgd", learning_rate=6.0, momentum=0.9, schedule="constant", epochs=8)
    method, cost, log = run(Exact)
    losses = [line["loss"] for line in log]
    best = losses.index(min(losses))
    assert 0 < best < 7  # the rate is so large that the loss rises again
    assert cost["kept_epoch"] == best + 1
    assert float(method.forward(run.images).total.detach()) == pytest.approx(losses[best], rel=1e-5)
    assert [line["kept_epoch"] for line in log][-1] == best + 1


def test_kept_weights_are_those_before_the_last_step_of_their_epoch(runner: Callable[..., Runner]) -> None:
    method, cost, _ = runner("kept", learning_rate=0.3, schedule="constant", epochs=5)(Keeping)
    before = 3 * cost["kept_epoch"] - 1
    stopped, _, _ = runner("stopped", learning_rate=0.3, schedule="constant", epochs=5)(Base, stops_after=before)
    assert same(method, stopped) == []


def ending(patience: int | None, losses: list[float]) -> type[Base]:
    """Return a method that has these losses, one an epoch, and counts its epochs in a buffer."""

    class Scripted(Base):
        """Has losses that a test wrote."""

        count: Tensor
        keeps = "least_loss"

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.patience = patience
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

        def forward(self, views: Any, player: str = "main") -> Loss:
            loss = super().forward(views, player).total
            return Loss(loss * 0 + losses[int(self.count)])

        def after_step(self) -> None:
            self.count += 1

    return Scripted


@pytest.mark.parametrize(("patience", "trained", "kept"), [(None, 6, 6), (1, 3, 2), (2, 4, 2), (3, 6, 6)])
def test_patience_ends_a_training_and_the_kept_weights_are_loaded(
    patience: int | None, trained: int, kept: int, runner: Callable[..., Runner]
) -> None:
    method, cost, log = runner(batch_size=48)(ending(patience, [3.0, 1.0, 2.0, 1.0, 0.75, 0.5]))
    assert (cost["epochs_trained"], cost["kept_epoch"], cost["steps"]) == (trained, kept, trained)
    assert len(log) == trained
    assert method.count == kept - 1  # the state before the step of the epoch that is kept
    assert all(torch.equal(a, b) for a, b in zip(method.after, method.state_dict().values(), strict=True))


def test_each_stage_ends_with_its_own_kept_weights(runner: Callable[..., Runner]) -> None:
    method, cost, log = runner(learning_rate=0.4, schedule="constant")(StagedKeeping)
    kept = {line["stage"]: line["kept_epoch"] for line in log}
    assert kept["bottom"] <= 2 < kept["top"]
    assert cost["kept_epoch"] == kept["top"]
    stopped, _, _ = runner("first", learning_rate=0.4, schedule="constant")(Staged, stops_after=3 * kept["bottom"] - 1)
    assert {name.partition(".")[0] for name in same(method, stopped)} <= {"head"}


def test_the_loss_of_several_players_is_their_sum(runner: Callable[..., Runner]) -> None:
    class Game(Keeping):
        """Has two players with losses of opposite course."""

        def players(self) -> list[Player]:
            return [
                Player("features", list(self.encoder.parameters())), Player("heads", list(self.head.parameters()))
            ]  # fmt: skip

    _, cost, log = runner()(Game)
    sums = [line["features.loss"] + line["heads.loss"] for line in log]
    assert cost["kept_epoch"] == sums.index(min(sums)) + 1


def test_no_epochs_train_nothing_and_too_few_are_refused(runner: Callable[..., Runner]) -> None:
    method, cost, log = runner("none", epochs=0)(Staged)
    assert (cost["steps"], cost["epochs_trained"], log) == (0, 0, [])
    assert [call[0] for call in method.calls] == ["stage", "stage", "end"]
    with pytest.raises(RequestError, match="2 stages, each of at least one epoch, so 1 epoch is too few"):
        runner("few", epochs=1)(Staged)


def test_trial_of_a_step_trains_each_stage_and_names_the_one_that_fails() -> None:
    tried: list[str] = []

    class Fails(Staged):
        """Divides by the number of other items in its second stage."""

        def forward(self, views: Any, player: str = "main") -> Loss:
            tried.append(player)
            loss = super().forward(views, player)
            return Loss(loss.total + self.head(self.encoder(views)).std(0).mean() if player == "heads" else loss.total)

    def build(data: DataSpec) -> Objective:
        return Fails(TinyEncoder(data), data, NoConfig())

    assert step_fault(build, Recipe(epochs=1), DATA, 2) is None
    assert tried == ["features", "heads"]
    assert step_fault(build, Recipe(epochs=1), DATA, 1) == "stage top: the loss of heads is nan"
