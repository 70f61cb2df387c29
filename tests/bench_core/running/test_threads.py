"""Threads of a chain follow from the size of its step alone."""

import os
from collections.abc import Callable
from dataclasses import replace

import faiss
import pytest
import torch
from threadpoolctl import threadpool_info

from bench_core import DataSpec, NoConfig
from bench_core.conformance.toys import TinyEncoder, image_spec
from bench_core.planning.chains import Chain, Plan
from bench_core.running import threads
from bench_core.running.threads import (
    fewer_threads,
    item_operations,
    running_threads,
    step_items,
    step_operations,
    threads_for,
    threads_here,
)

PlanOf = Callable[..., Plan]


@pytest.fixture
def chain(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return plan_of().chains[0]


def with_operations(monkeypatch: pytest.MonkeyPatch, operations: float) -> None:
    """Let every step have so many operations."""
    monkeypatch.setattr(threads, "step_operations", lambda chain: operations)


def test_operations_of_a_step_are_those_of_a_pass_by_hand(chain: Chain) -> None:
    class Layer(TinyEncoder):
        def __init__(self, data: DataSpec, config: NoConfig) -> None:
            super().__init__(data, config)
            self.layer = torch.nn.Linear(data.shape[-1], 5)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.layer(inputs[:, 0, 0])  # type: ignore[no-any-return]  # torch gives Any

    batch, encoder = chain.recipe.batch_size, chain.encoder
    chain = replace(chain, encoder=replace(encoder, plugin=replace(encoder.plugin, cls=Layer)))
    assert item_operations(chain) == 2 * chain.data.shape[-1] * 5
    assert step_operations(chain) == batch * item_operations(chain)
    half = replace(chain, recipe=replace(chain.recipe, batch_size=batch // 2))
    assert step_operations(half) == step_operations(chain) / 2


def test_items_of_a_step_are_a_batch_or_all_of_a_small_split_or_all_nodes(chain: Chain) -> None:
    def items(batch_size: int, kind: str = "image") -> int:
        data = replace(chain.data, splits={"train": 100}, kind=kind)
        return step_items(replace(chain, data=data, recipe=replace(chain.recipe, batch_size=batch_size)))

    assert [items(16), items(300), items(16, "nodes")] == [16, 100, 100]


def test_random_streams_stay_as_they_are_when_a_step_is_counted(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_counted", {})
    before = torch.get_rng_state()
    threads_for(chain)
    assert torch.equal(torch.get_rng_state(), before)


def test_encoder_that_fails_on_made_items_has_one_thread(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_counted", {})

    def fail(*_: object) -> None:
        raise ValueError("no such images")

    monkeypatch.setattr(chain.encoder.plugin.cls, "forward", fail)
    assert threads_for(replace(chain, data=image_spec(9))) == 1


@pytest.mark.parametrize(
    ("operations", "expected"), [(0, 1), (9.9e8, 1), (1e9, 2), (7e9, 2), (8e9, 4), (6.3e10, 4), (6.4e10, 8), (1e15, 8)]
)
def test_larger_steps_have_more_threads(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, operations: float, expected: int
) -> None:
    with_operations(monkeypatch, operations)
    assert threads_for(chain) == expected


def test_a_machine_with_fewer_cores_uses_them_and_says_so(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    with_operations(monkeypatch, 1e10)
    monkeypatch.setattr(threads, "cpu_count", lambda: 3)
    assert threads_here(chain) == 3
    [line] = fewer_threads([chain])
    assert line.startswith("steps that can use 4 threads get 3: ")
    monkeypatch.setattr(threads, "cpu_count", lambda: 64)
    assert threads_here(chain) == 4
    assert fewer_threads([chain]) == fewer_threads([]) == []


def test_the_number_of_a_record_is_used_whatever_the_step_and_the_machine(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cpu_count", lambda: 1)
    assert threads_here(chain, given=2) == 2


def test_what_the_user_has_set_wins(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = torch.get_num_threads()
    with running_threads(chain, given=before + 1) as number:
        assert number == torch.get_num_threads() == before
    assert fewer_threads([chain]) == []


def test_all_libraries_compute_with_the_threads_of_a_chain_and_then_as_before(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    with running_threads(chain, given=3) as number:
        assert number == torch.get_num_threads() == faiss.omp_get_max_threads() == 3
        assert {library["num_threads"] for library in threadpool_info()} == {3}
        assert os.environ["OMP_NUM_THREADS"] == "3"
        with running_threads(chain) as inner:  # its source, say
            assert inner == torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before
    assert "OMP_NUM_THREADS" not in os.environ
