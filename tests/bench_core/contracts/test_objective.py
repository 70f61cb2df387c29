"""Methods with unusual needs, as tiny plugins trained by the real harness: players, queues, full passes, many views."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, NoConfig, Objective, Player, Recipe, Variant
from bench_core.running.chain import build_objective
from bench_core.training.optimizers import make_optimizer
from bench_core.training.players import PlayerOptimizers

Add = Callable[[str, str, type], None]
PlanOf = Callable[..., Any]
Train = Callable[..., Any]
SMALL = Recipe(optimizer="sgd", learning_rate=0.05, epochs=2, batch_size=16)


class Game(Objective):
    """An encoder hides the class from a critic that predicts it; the critic takes two Adam steps on each batch."""

    uses_labels = True
    recipe = SMALL

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.critic = nn.Linear(encoder.dim, 2)

    def players(self) -> list[Player]:
        """Return the critic and the encoder."""
        return [
            Player("critic", list(self.critic.parameters()), steps=2, recipe={"optimizer": "adam"}),
            Player("encoder", list(self.encoder.parameters())),
        ]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return images and labels."""
        return batch.inputs, batch.labels

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the critic's cross-entropy; the encoder maximises it."""
        inputs, labels = views
        features = self.encoder(inputs)
        loss = F.cross_entropy(self.critic(features.detach() if player == "critic" else features), labels)
        return Loss(loss if player == "critic" else -loss, {"cross_entropy": loss})


def test_two_players_have_separate_optimisers_losses_and_logs(plan_of: PlanOf, add: Add, train: Train) -> None:
    add("objective", "game", Game)
    trained = train(plan_of(methods=["game"]))
    state, start = trained.state, build_objective(trained.chain).state_dict()
    assert not torch.equal(state["critic.weight"], start["critic.weight"])
    assert not torch.equal(state["encoder.first.weight"], start["encoder.first.weight"])
    assert {"critic.loss", "encoder.loss", "critic.cross_entropy", "encoder.cross_entropy"} <= set(trained.log[0])


def test_a_players_step_moves_only_its_parameters(plan_of: PlanOf, add: Add) -> None:
    add("objective", "game", Game)
    (chain,) = plan_of(methods=["game"]).chains
    game = build_objective(chain)
    critic, encoder = game.players()
    before = {name: value.clone() for name, value in game.state_dict().items()}
    views = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
    autocast = torch.autocast("cpu", enabled=False)
    PlayerOptimizers(encoder, [(SMALL, make_optimizer(encoder.parameters, SMALL))]).step(game, views, autocast)
    moved = {name for name, value in game.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("encoder.") for name in moved)
    assert all(p.grad is None for p in critic.parameters)


class Queue(Objective):
    """Compares with keys of a momentum encoder, which wait in a queue, as MoCo."""

    recipe = SMALL
    queue: Tensor
    pointer: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(32, encoder.dim))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def players(self) -> list[Player]:
        """Return a player that trains the encoder, not its momentum copy."""
        return [Player("main", list(self.encoder.parameters()))]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """One."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the cross-entropy of finding an image's key among those in the queue."""
        query = F.normalize(self.encoder(views), dim=1)
        with torch.no_grad():
            self.keys = F.normalize(self.teacher(views), dim=1)
        logits = torch.cat([(query * self.keys).sum(1, keepdim=True), query @ self.queue.T], 1)
        return Loss(F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64)))

    def after_step(self) -> None:
        """Move the momentum copy towards the encoder, and write the keys into the queue."""
        for slow, fast in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
            slow.lerp_(fast.detach(), 0.5)
        where = (self.pointer + torch.arange(len(self.keys))) % len(self.queue)
        self.queue[where] = self.keys
        self.pointer += len(self.keys)


def test_queue_and_momentum_encoder_change_after_each_step_and_are_saved(
    plan_of: PlanOf, add: Add, train: Train
) -> None:
    add("objective", "queue", Queue)
    trained = train(plan_of(methods=["queue"]))
    state, start = trained.state, build_objective(trained.chain).state_dict()
    assert int(state["pointer"]) == 2 * 3 * 16  # epochs x steps x batch
    assert torch.allclose(state["queue"].norm(dim=1), torch.ones(32))
    assert not torch.equal(state["teacher.first.weight"], start["teacher.first.weight"])
    assert not torch.equal(state["teacher.first.weight"], state["encoder.first.weight"])


class Relabel(Objective):
    """Computes a label for each image (its mean) before an epoch, and reads the labels by index."""

    recipe = SMALL
    means: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.head = nn.Linear(encoder.dim, 1)
        self.register_buffer("means", torch.full((data.num_train,), torch.nan))

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Compute all labels in one pass."""
        seen = 0
        for batch in context.batches():
            self.means[batch.index] = batch.inputs.mean((1, 2, 3))
            seen += len(batch.index)
        return {"seen": seen}

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return images and their positions in the split."""
        return batch.inputs, batch.index

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Regress the labels, and log how far the labels read by index are from the right ones."""
        inputs, index = views
        mismatch = (self.means[index] - inputs.mean((1, 2, 3))).abs().max()
        return Loss((self.head(self.encoder(inputs))[:, 0] - self.means[index]).square().mean(), {"mismatch": mismatch})


def test_before_epoch_relabels_all_items_which_the_loss_reads_by_index(plan_of: PlanOf, add: Add, train: Train) -> None:
    add("objective", "relabel", Relabel)
    trained = train(plan_of(methods=["relabel"], settings={"blobs.train_size": 41}))
    assert bool(trained.state["means"].isfinite().all())
    assert [line["seen"] for line in trained.log] == [41, 41]
    assert max(line["mismatch"] for line in trained.log) < 1e-6


class MultiCrop(Objective):
    """Two large views and three small ones, as SwAV."""

    recipe = SMALL

    def make_views(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """Return views of two sizes."""
        small = F.interpolate(batch.inputs, size=4)
        return [batch.inputs, batch.inputs.flip(3), small, small.flip(2), small.flip(3)]

    def forward(self, views: list[Tensor], player: str = "main") -> Loss:
        """Return the variance of the features over the views."""
        assert [tuple(view.shape[2:]) for view in views] == [(8, 8)] * 2 + [(4, 4)] * 3
        features = torch.stack([self.encoder(view) for view in views])
        return Loss(features.var(0).mean())


def test_views_may_differ_in_number_and_size(plan_of: PlanOf, add: Add, train: Train) -> None:
    add("objective", "multi_crop", MultiCrop)
    trained = train(plan_of(methods=["multi_crop"]))
    assert [line["step"] for line in trained.log] == [3, 6]


def test_recipe_refuses_a_negative_learning_rate() -> None:
    with pytest.raises(ValueError, match="learning_rate must be >= 0, got -1"):
        Recipe(learning_rate=-1)


def test_settings_of_a_variant_are_told_apart_by_the_word_recipe() -> None:
    variant = Variant({"flip": 0.2, "recipe.epochs": 5}, "paper, section 3", "fewer flips")
    assert variant.config == {"flip": 0.2}
    assert variant.recipe == {"epochs": 5}
