"""The simulated campaign counts every chain once, and its parts add up; what is measured is what a run does."""

import json
from pathlib import Path

import pytest

from bench_core.running.pending import to_run
from bench_core.store import Store
from bench_core.store.chain_files import read_finished_log, read_recipe
from bench_core.store.chain_names import chain_names
from benchmarks.campaign import LAYOUTS, Campaign, Costs, Layout, as_text, measured_costs, simulate
from benchmarks.scale import RESULTS, make_store, plan_of
from benchmarks.scale import as_text as sizes_as_text

COSTS = Costs(plan=1e-4, remark=3e-4, of_chain=200, of_cell=30)
SMALL = Campaign(chains=600, gpus=16, training_min=5.0, preempted_h=2.0, node_days=0.2)
CALM = Campaign(chains=300, gpus=8, preempted_h=1e9, node_days=1e9, crash=0.0, spread=0.0, start=0.0, latency=0.0)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_same_seed_gives_the_same_campaign_and_the_hours_of_all_gpus_add_up(layout: Layout) -> None:
    outcome = simulate(layout, COSTS, SMALL, seed=1)
    assert outcome == simulate(layout, COSTS, SMALL, seed=1)
    assert outcome.preempted > 0
    assert outcome.node_failures > 0
    assert outcome.lost > 0
    used = outcome.trained + outcome.lost + outcome.idle
    assert used <= SMALL.gpus * (outcome.hours + (SMALL.repaired + 60) / 3600)
    assert used >= 0.6 * SMALL.gpus * outcome.hours  # at the end GPUs have nothing to do


def test_a_campaign_without_failures_and_costs_takes_as_long_as_its_chains() -> None:
    outcome = simulate(Layout("free", 1), Costs(0.0, 0.0, 0.0, 0.0), CALM)
    seconds = 60 * CALM.training_min + CALM.measuring
    assert outcome.trained == pytest.approx(CALM.chains * seconds / 3600)
    assert outcome.hours == pytest.approx(-(-CALM.chains // CALM.gpus) * seconds / 3600, abs=60 / 3600)
    assert (outcome.lost, outcome.idle, outcome.failed) == (0.0, 0.0, 0)


def test_a_request_for_each_of_several_stores_costs_fewer_operations_on_files() -> None:
    whole, parts = (simulate(Layout("", stores), COSTS, SMALL, seed=1) for stores in (1, 4))
    assert sum(parts.operations.values()) < sum(whole.operations.values())


def test_a_made_store_is_one_in_which_all_is_done(tmp_path: Path) -> None:
    plan, store = plan_of(20), Store(tmp_path)
    make_store(plan, store)
    assert to_run(plan, store) == []
    assert len(chain_names(store)) == len(plan.chains) == 4
    folder = store.chain_folder(plan.chains[0].key)
    assert read_recipe(folder)["doc"] == plan.chains[0].document
    assert len(read_finished_log(folder)) == 40


def test_the_page_shows_what_was_measured() -> None:
    content = json.loads(RESULTS.read_text())
    page = RESULTS.parents[1].joinpath("docs", "scale.md").read_text()
    assert sizes_as_text(content) in page
    costs = measured_costs(content)
    text = as_text(costs, Campaign(), [(LAYOUTS[0], simulate(LAYOUTS[0], costs))])
    assert all(line.partition(" | ")[0] in page for line in text.splitlines())
