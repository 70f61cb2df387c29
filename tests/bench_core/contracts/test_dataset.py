"""The contracts are wide enough: each thing that a known method needs, as a tiny plugin run by the real harness."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Dataset, DataSpec, Encoder, EpochContext, Loss, NoConfig, Objective, Player, Recipe, Split
from bench_core.planning.plan import Chain, Plan
from bench_core.running.chain import build_objective
from bench_core.running.runner import run_plan
from bench_core.running.setting import Setting
from bench_core.store import Store

Add = Callable[[str, str, type], None]
PlanOf = Callable[..., Plan]
SMALL = Recipe(optimizer="sgd", learning_rate=0.05, epochs=2, batch_size=16)


def train(plan: Plan, path: Path) -> tuple[Chain, dict[str, Tensor], list[dict[str, Any]]]:
    """Run the plan's only chain; its chain, final state and log."""
    store = Store(path)
    assert run_plan(plan, store, Setting(torch.device("cpu"))) == []
    (chain,) = plan.chains
    assert store.record(chain.cells[0].key) is not None
    folder = store.chain(chain.key)
    from safetensors.torch import load_file

    lines = (folder / "log.jsonl").read_text().splitlines()
    return chain, load_file(folder / "weights.safetensors"), [json.loads(line) for line in lines]


class Game(Objective):
    """An encoder that hides the class from a critic that looks for it; the critic learns twice as often, by Adam."""

    uses_labels = True
    recipe = SMALL

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.critic = nn.Linear(encoder.dim, 2)

    def players(self) -> list[Player]:
        """Two."""
        return [
            Player("critic", list(self.critic.parameters()), steps=2, recipe={"optimizer": "adam"}),
            Player("encoder", list(self.encoder.parameters())),
        ]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """With labels."""
        return batch.inputs, batch.labels

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Minus one another."""
        inputs, labels = views
        features = self.encoder(inputs)
        loss = F.cross_entropy(self.critic(features.detach() if player == "critic" else features), labels)
        return Loss(loss if player == "critic" else -loss, {"found": loss})


def test_two_players_have_their_own_optimisers_losses_and_logs(plan_of: PlanOf, add: Add, tmp_path: Path) -> None:
    add("objective", "game", Game)
    chain, state, log = train(plan_of(methods=["game"]), tmp_path / "runs")
    start = build_objective(chain).state_dict()
    assert not torch.equal(state["critic.weight"], start["critic.weight"])
    assert not torch.equal(state["encoder.first.weight"], start["encoder.first.weight"])
    assert {"critic.loss", "encoder.loss", "critic.found", "encoder.found"} <= set(log[0])


def test_a_players_turn_moves_nobody_elses_parameters(plan_of: PlanOf, add: Add) -> None:
    from bench_core.training.optimizers import make_optimizer
    from bench_core.training.pretrain import Turn

    add("objective", "game", Game)
    (chain,) = plan_of(methods=["game"]).chains
    game = build_objective(chain)
    critic, encoder = game.players()
    before = {name: value.clone() for name, value in game.state_dict().items()}
    views = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
    autocast = torch.autocast("cpu", enabled=False)
    Turn(encoder, [(SMALL, make_optimizer(encoder.parameters, SMALL))]).play(game, views, autocast)
    moved = {name for name, value in game.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("encoder.") for name in moved)
    assert all(p.grad is None for p in critic.parameters)


class Queue(Objective):
    """Keys of a momentum encoder in a queue, as MoCo."""

    recipe = SMALL
    queue: Tensor
    pointer: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        import copy

        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(32, encoder.dim))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def players(self) -> list[Player]:
        """The student alone."""
        return [Player("main", list(self.encoder.parameters()))]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """One."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Near to its key, far from the queue."""
        query = F.normalize(self.encoder(views), dim=1)
        with torch.no_grad():
            self.keys = F.normalize(self.teacher(views), dim=1)
        logits = torch.cat([(query * self.keys).sum(1, keepdim=True), query @ self.queue.T], 1)
        return Loss(F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64)))

    def after_step(self) -> None:
        """The teacher follows, the queue moves on."""
        for slow, fast in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
            slow.lerp_(fast.detach(), 0.5)
        where = (self.pointer + torch.arange(len(self.keys))) % len(self.queue)
        self.queue[where] = self.keys
        self.pointer += len(self.keys)


def test_a_queue_and_a_momentum_encoder_move_after_each_step_and_lie_in_the_state(
    plan_of: PlanOf, add: Add, tmp_path: Path
) -> None:
    add("objective", "queue", Queue)
    chain, state, _ = train(plan_of(methods=["queue"]), tmp_path / "runs")
    start = build_objective(chain).state_dict()
    assert int(state["pointer"]) == 2 * 3 * 16  # epochs x steps x batch
    assert torch.allclose(state["queue"].norm(dim=1), torch.ones(32))
    assert not torch.equal(state["teacher.first.weight"], start["teacher.first.weight"])
    assert not torch.equal(state["teacher.first.weight"], state["encoder.first.weight"])


class Relabel(Objective):
    """Labels every image by its mean before an epoch and reads the labels by index."""

    recipe = SMALL
    means: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.head = nn.Linear(encoder.dim, 1)
        self.register_buffer("means", torch.full((data.num_train,), torch.nan))

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """One pass over all."""
        seen = 0
        for batch in context.batches():
            self.means[batch.index] = batch.inputs.mean((1, 2, 3))
            seen += len(batch.index)
        return {"seen": seen}

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """With indices."""
        return batch.inputs, batch.index

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Regress the label; the index must lead to the image's own."""
        inputs, index = views
        right = (self.means[index] - inputs.mean((1, 2, 3))).abs().max()
        return Loss((self.head(self.encoder(inputs))[:, 0] - self.means[index]).square().mean(), {"mismatch": right})


def test_the_whole_data_set_is_relabelled_before_an_epoch_and_read_by_index(
    plan_of: PlanOf, add: Add, tmp_path: Path
) -> None:
    add("objective", "relabel", Relabel)
    _, state, log = train(plan_of(methods=["relabel"], settings={"blobs.train_size": 41}), tmp_path / "runs")
    assert bool(state["means"].isfinite().all())
    assert [line["seen"] for line in log] == [41, 41]
    assert max(line["mismatch"] for line in log) < 1e-6


class Local(Objective):
    """Summary against local features, as DIM(L)."""

    recipe = SMALL

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """One."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Every location scores its own image's summary above the others'."""
        maps = self.encoder.maps(views)["second"].flatten(2)  # (N, D, h*w)
        scores = torch.einsum("nd,mdl->nml", maps.mean(2), maps)
        target = torch.arange(len(views)).unsqueeze(1).expand(-1, maps.shape[2])
        return Loss(F.cross_entropy(scores.transpose(0, 1), target))


def test_an_objective_reads_local_maps(plan_of: PlanOf, add: Add, tmp_path: Path) -> None:
    add("objective", "local", Local)
    _, _, log = train(plan_of(methods=["local"]), tmp_path / "runs")
    assert log[-1]["loss"] > 0


class MultiCrop(Objective):
    """Two large views and three small ones, as SwAV."""

    recipe = SMALL

    def make_views(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """A list of two sizes."""
        small = F.interpolate(batch.inputs, size=4)
        return [batch.inputs, batch.inputs.flip(3), small, small.flip(2), small.flip(3)]

    def forward(self, views: list[Tensor], player: str = "main") -> Loss:
        """All alike."""
        assert [tuple(view.shape[2:]) for view in views] == [(8, 8)] * 2 + [(4, 4)] * 3
        features = torch.stack([self.encoder(view) for view in views])
        return Loss(features.var(0).mean())


def test_views_may_differ_in_number_and_size(plan_of: PlanOf, add: Add, tmp_path: Path) -> None:
    add("objective", "multi_crop", MultiCrop)
    _, _, log = train(plan_of(methods=["multi_crop"]), tmp_path / "runs")
    assert [line["step"] for line in log] == [3, 6]


class GraphBatch:
    """Adjacency (N, V, V) and node features (N, V, F), moved together."""

    def __init__(self, adjacency: Tensor, nodes: Tensor) -> None:
        self.adjacency, self.nodes = adjacency, nodes

    def to(self, device: torch.device, **_: Any) -> "GraphBatch":
        """On a device."""
        return GraphBatch(self.adjacency.to(device), self.nodes.to(device))


class GraphReader:
    """Graphs are read by index; nothing lies in memory as one tensor."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: Tensor) -> GraphBatch:
        """Rings of five nodes, or stars."""
        ring = torch.eye(5).roll(1, 0) + torch.eye(5).roll(-1, 0)
        star = torch.zeros(5, 5)
        star[0, 1:] = star[1:, 0] = 1
        adjacency = torch.stack([ring if i % 2 else star for i in index.tolist()])
        return GraphBatch(adjacency, torch.ones(len(index), 5, 1))


class Graphs(Dataset):
    """Not images."""

    def __init__(self, root: Path, config: NoConfig) -> None:
        self.root = root

    def spec(self) -> DataSpec:
        """Graphs of five nodes."""
        return DataSpec(shape=(5,), splits={"train": 32, "test": 8}, num_classes=2)

    def digest(self) -> str:
        """Made by code."""
        return "graphs-1"

    def load(self, split: str) -> Split:
        """A reader."""
        count = self.spec().splits[split]
        return Split(GraphReader(count), torch.arange(count) % 2)


class GraphEncoder(Encoder):
    """Two rounds of message passing."""

    Config = NoConfig
    dim = 6

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        super().__init__(data, config)
        self.mix = nn.Linear(2, self.dim)

    def forward(self, inputs: GraphBatch) -> Tensor:
        """Mean over nodes."""
        once = inputs.adjacency @ inputs.nodes
        return torch.tanh(self.mix(torch.cat([once, inputs.adjacency @ once], 2))).mean(1)

    def maps(self, inputs: GraphBatch) -> dict[str, Tensor]:
        """None here."""
        return {}


class Agree(Objective):
    """Embeds a batch near its own noisy copy; works on anything that an encoder reads."""

    recipe = SMALL

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """The inputs as they are."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Spread out."""
        return Loss(-self.encoder(views).var(0).sum())


def test_data_need_not_be_images(plan_of: PlanOf, add: Add, tmp_path: Path) -> None:
    add("dataset", "graphs", Graphs)
    add("encoder", "message_passing", GraphEncoder)
    add("objective", "agree", Agree)
    plan = plan_of(datasets=["graphs"], encoders=["message_passing"], methods=["agree"])
    chain, _, log = train(plan, tmp_path / "runs")
    assert log[-1]["loss"] < log[0]["loss"]
    record = Store(tmp_path / "runs").record(chain.cells[0].key)
    assert record is not None
    assert record["scores"][0]["value"] > 0.01  # rings and stars lie apart


def test_a_recipe_refuses_a_negative_rate() -> None:
    with pytest.raises(ValueError, match=r"learning_rate must be >= 0\.0, got -1"):
        Recipe(learning_rate=-1)
