"""Probes measure a method while it is trained, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, Split
from bench_core.errors import RequestError
from bench_core.planning.chains import Plan
from bench_core.running.probe import Probe, as_it_was, make_probe
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.chain_files import read_finished_log

CPU = torch.device("cpu")


class Fragile(Objective):
    """Has batch norm, dropout, and an `embed` that changes whatever it can (a toy)."""

    embedded: Tensor

    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=4, batch_size=16)

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        super().__init__(encoder, data, config)
        self.norm = nn.BatchNorm1d(encoder.dim)
        self.head = nn.Linear(encoder.dim, 4)
        self.register_buffer("embedded", torch.zeros(()))

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs with noise of three generators."""
        noise = torch.rand(batch.inputs.shape, generator=rng) + torch.rand(()) + float(np.random.rand())
        return batch.inputs + 0.1 * noise

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of all parts."""
        return Loss(
            self.head(F.dropout(self.norm(self.encoder(views)), training=self.training)).square().mean() + self.embedded
        )

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Draw from all global streams, and change a buffer and a weight."""
        torch.rand(3)
        np.random.rand(3)
        self.embedded += 1
        self.head.weight.data.mul_(1.5)
        return {"features": self.encoder(inputs)}


class Said(NoProgress):
    """Keeps the lines that are shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


def run(plan: Plan, store: Store, every: int) -> tuple[list[dict[str, Any]], bytes, list[str]]:
    said = Said()
    assert run_plan(plan, store, RunSetting(device="cpu", probe_every=every), said) == []
    folder = store.chain_folder(plan.chains[0].key)
    lines = read_finished_log(folder)
    return lines, (folder / "weights.safetensors").read_bytes(), said.lines


def test_weights_scores_and_keys_are_the_same_to_the_bit_with_probes_and_without(
    plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], tmp_path: Path
) -> None:
    add("objective", "fragile", Fragile)
    plan = plan_of(methods=["fragile"], seeds=[0])
    stores = [Store(tmp_path / name) for name in ("without", "with")]
    (without, weights, _), (probed, same_weights, said) = (run(plan, store, every) for store, every in
                                                           zip(stores, (0, 2), strict=True))  # fmt: skip
    assert weights == same_weights
    assert [line["loss"] for line in without] == [line["loss"] for line in probed]
    assert not any("failed" in line for line in said)
    assert [(line["epoch"], sorted(line.get("probe", {}))) for line in probed] == [
        (1, []), (2, ["knn", "rankme"]), (3, []), (4, ["knn", "rankme"]),
    ]  # fmt: skip
    scores = [[(record.key, record.scores) for record in store.records()] for store in stores]
    assert scores[0] == scores[1]


@pytest.fixture
def split() -> Split:
    labels = torch.arange(60) % 3
    noise = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    return Split(noise + 0.7 * F.one_hot(labels, 4), labels)


class Given(Objective):
    """Embeds what it is given (a toy)."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.encoder = cast(Encoder, nn.Identity())
        self.norm = nn.BatchNorm1d(4)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs; it is never trained."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of 0; it is never trained."""
        return Loss(torch.zeros(()))

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Return the inputs."""
        return {"features": inputs}


def tensor(inputs: Any) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs


def probe_of(split: Split, seed: int = 0, classes: int | None = 3) -> Probe:
    spec = DataSpec(shape=(4,), splits={"train": len(split)}, num_classes=classes)
    probe = make_probe(1, split, spec, seed, CPU, 0, pytest.fail)
    assert probe is not None
    return probe


def test_bank_and_queries_are_two_parts_of_train_that_depend_on_the_seed_alone(split: Split) -> None:
    parts = probe_of(split).parts
    assert {name: len(part) for name, part in parts.items()} == {"bank": 48, "queries": 12}
    rows = torch.cat([tensor(part.inputs) for part in parts.values()])
    assert len({tuple(row) for row in rows.tolist()}) == 60
    queries, again, other = (tensor(part["queries"].inputs) for part in (
        parts, probe_of(split).parts, probe_of(split, seed=1).parts))  # fmt: skip
    assert torch.equal(queries, again)
    assert not torch.equal(queries, other)


def test_numbers_are_those_of_the_formulas(split: Split) -> None:
    probe = probe_of(split)
    measured = probe.measure(Given(), 1)["probe"]
    bank, queries = (probe.parts[name] for name in ("bank", "queries"))
    p = torch.linalg.svdvals(tensor(bank.inputs).double())
    p = p / p.sum() + 1e-7
    assert measured["rankme"] == pytest.approx(float((-p * p.log()).sum().exp()), rel=1e-5)
    assert bank.labels is not None
    assert queries.labels is not None
    k, right = int(bank.labels.bincount().min()), 0
    for x, label in zip(tensor(queries.inputs), queries.labels, strict=True):
        cosine = F.cosine_similarity(x[None], tensor(bank.inputs))
        votes = torch.zeros(3)
        for i in cosine.topk(k).indices:
            votes[bank.labels[i]] += (cosine[i] / 0.1).exp()
        right += int(votes.argmax() == label)
    assert measured["knn"] == pytest.approx(right / len(queries))


@pytest.mark.parametrize("labels", [None, torch.ones(60, 2, dtype=torch.bool)])
def test_without_one_label_an_item_there_is_only_rankme(split: Split, labels: Tensor | None) -> None:
    assert list(probe_of(Split(split.inputs, labels), classes=None).measure(Given(), 1)["probe"]) == ["rankme"]


def test_a_probe_that_fails_is_named_and_the_training_goes_on(split: Split) -> None:
    said: list[str] = []
    spec = DataSpec(shape=(4,), splits={"train": 60}, num_classes=3)
    probe = make_probe(2, Split(tensor(split.inputs) * float("nan"), split.labels), spec, 0, CPU, 0, said.append)
    assert probe is not None
    assert [probe.measure(Given(), epoch) for epoch in (1, 2)] == [{}, {}]
    assert len(said) == 1
    assert "the probe after epoch 2 failed, the training goes on: StoreError" in said[0]


def test_a_train_split_that_is_too_small_has_no_probe(split: Split) -> None:
    said: list[str] = []
    spec = DataSpec(shape=(4,), splits={"train": 9}, num_classes=3)
    assert make_probe(1, Split(tensor(split.inputs)[:9], None), spec, 0, CPU, 0, said.append) is None
    assert said == ["no probe: it divides the train split, which has 9 items of the 10 that it needs"]


@pytest.mark.parametrize("every", [-1, 1.5, True])
def test_a_number_of_epochs_that_is_none_is_refused(every: Any) -> None:
    with pytest.raises(RequestError, match=f"probe-every must be a number of epochs from 0, got {every}"):
        RunSetting(probe_every=every)


def test_modes_buffers_and_random_streams_are_put_back_also_after_an_error() -> None:
    method = Given().train()
    method.norm.eval()
    state, streams = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # a tuple

    def change_all() -> None:
        method.eval()
        method.norm.train()(torch.rand(8, 4))
        np.random.rand()
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), as_it_was(method, CPU):
        change_all()
    assert (method.training, method.norm.training) == (True, False)
    assert torch.equal(tensor(method.norm.running_mean), torch.zeros(4))
    assert method.norm.num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == streams).all()  # type: ignore[index]  # a tuple
