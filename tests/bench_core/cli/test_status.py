"""`bench status` and `bench logs`: what people see of a run, from any terminal."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_core.running.planned import Announcement, PlannedChain, planned
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.store.under_way import LiveLog, under_way_folder

Bench = Callable[..., Result]
SHORT = ["--methods", "random", "--tasks", "knn"]
LINE = {"step": 7, "loss": 5.25, "contrast": 5.0, "images_per_s": 3000.4, "learning_rate": 0.01, "seconds": 2.0}
SCREEN = """\
`bench run --methods random,nac,sela --tasks knn --seeds 0,1,2,3,4,5,6,7,8,9`
  goes on
1 of 30 cells done, 1 running, 28 left; at least 13 min left
  40 parts are guessed from other methods on the same data
  19 parts are unknown: nothing like them has finished in this store
running  nac on digits with convnet, seed 0  epoch 2 of 400  13 min of training
         left
left     random on digits with convnet, seed 1
left     random on digits with convnet, seed 2
left     random on digits with convnet, seed 3
left     random on digits with convnet, seed 4
left     random on digits with convnet, seed 5
left     random on digits with convnet, seed 6
left     random on digits with convnet, seed 7
left     random on digits with convnet, seed 8
left     and 20 more chains
"""


@pytest.fixture
def request_plan() -> Request:
    return Request(methods=["random", "nac", "sela"], tasks=["knn"], seeds=list(range(10)), data_root=Path())


@contextmanager
def being_trained(store: Store, chain: PlannedChain, document: object) -> Iterator[LiveLog]:
    """Do what a training of this chain does on disk."""
    description = {"doc": document, "names": {**chain.names, "task": "knn"}, "label": chain.label}
    with LiveLog(under_way_folder(store.chain_folder(chain.key)), description) as log:
        yield log


def test_status_of_a_run_that_goes_on_fits_eighty_columns(
    bench: Bench, request_plan: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("run", *SHORT, "--quiet")
    monkeypatch.setenv("COLUMNS", "80")
    store, plan = Store("runs"), make_plan(request_plan, load_plugins())
    command = "bench run --methods random,nac,sela --tasks knn --seeds 0,1,2,3,4,5,6,7,8,9"
    content = planned(plan, command)
    nac = next(chain for chain in plan.chains if chain.method.name == "nac" and chain.seed == 0)
    chain = next(chain for chain in content.chains if chain.key == nac.key)
    with Announcement(content, store) as announcement:
        announcement.write()
        with being_trained(store, chain, nac.document) as log:
            log.write({**LINE, "epoch": 1})
            log.write({**LINE, "epoch": 2})
            shown = bench("status").stdout
            assert json.loads(bench("status", "--json").stdout)["cells"] == {
                "done": 1, "running": 1, "failed": 0, "left": 28
            }  # fmt: skip
    assert shown == SCREEN  # trainings of nac and sela are unknown; random's tasks are a guess for theirs
    assert max(map(len, shown.splitlines())) <= 80
    after = bench("status").stdout.splitlines()
    assert after[1] == "  does not run now"
    assert "stopped  nac on digits with convnet, seed 0  epoch 2 of 400" in "\n".join(after)


def test_status_of_a_request_and_of_a_finished_run(bench: Bench) -> None:
    bench("run", *SHORT, "--quiet")
    assert bench("status").stdout == "`bench run --methods random --tasks knn --quiet` is over\n1 of 1 cells done\n"
    lines = bench("status", "--methods", "random", "--tasks", "knn", "--seeds", "0,1").stdout.splitlines()
    assert lines[0].startswith("1 of 2 cells done, 1 left; ")
    assert lines[-1] == "left     random on digits with convnet, seed 1"


def test_status_names_why_cells_failed(bench: Bench) -> None:
    bench("run", "--methods", "nac", "--tasks", "knn", "--epochs", "1", "--set", "nac.recipe.learning_rate=1e30",
          "--quiet", code=1)  # fmt: skip
    shown = bench("status").stdout
    assert "0 of 1 cells done, 1 failed" in shown
    assert "failed   nac on digits with convnet, seed 0" in shown
    assert "knn: nan: " in shown


def test_a_refused_status_says_what_to_type(bench: Bench, tmp_path: Path) -> None:
    assert "there is no store at runs" in bench("status", code=2).stderr
    bench("run", *SHORT, "--quiet")
    assert "--epochs needs --methods or --board" in bench("status", "--epochs", "3", code=2).stderr
    planned_file = tmp_path / "runs" / "planned.json"
    planned_file.write_text('{"command": "x", "jobs": 1, "chains": [{"key": "../.."}]}')
    assert "planned.json is damaged" in bench("status", code=1).stderr
    planned_file.unlink()
    assert "name it: --methods A,B or --board NAME" in bench("status", code=2).stderr


def test_logs_of_a_finished_training(bench: Bench) -> None:
    bench("run", "--methods", "nac", "--tasks", "knn", "--epochs", "2", "--quiet")
    lines = bench("logs", "digits/convnet/nac/seed-0").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "  loss " in lines[0]
    assert "  rate " in lines[0]
    assert lines[0].endswith(" images/s")
    key = next(path.name for path in Path("runs/chains").iterdir())
    for name in ("convnet/nac/seed-0", "nac/seed-0", key[:8], f"runs/chains/{key}"):
        assert bench("logs", name, "-f").stdout.splitlines() == lines  # nothing goes on: -f ends


def test_logs_of_an_unknown_chain_name_the_nearest(bench: Bench) -> None:
    bench("run", "--methods", "nac", "--tasks", "knn", "--epochs", "1", "--quiet")
    assert "did you mean 'digits/convnet/nac/seed-0'?" in bench("logs", "digits/convnet/nca/seed-0", code=2).stderr


def test_follow_prints_each_line_once_and_ends_with_the_training(
    bench: Bench, request_plan: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("run", *SHORT, "--quiet")
    store, plan = Store("runs"), make_plan(request_plan, load_plugins())
    nac = next(chain for chain in plan.chains if chain.method.name == "nac")
    chain = next(chain for chain in planned(plan).chains if chain.key == nac.key)
    epochs = iter([2, 3])
    with being_trained(store, chain, nac.document) as log:
        log.write({**LINE, "epoch": 1})

        def more(seconds: float) -> None:
            epoch = next(epochs)
            log.write({**LINE, "epoch": epoch, "warnings": ["collapsed"] if epoch == 3 else []})
            if epoch == 3:
                log.__exit__()

        monkeypatch.setattr("bench_core.cli.status.time.sleep", more)
        lines = bench("logs", nac.key[:8], "-f").stdout.splitlines()
    words = "loss 5.25  contrast 5  rate 0.01  3000 images/s"
    assert lines == [*(f"epoch {epoch}/400  {words}" for epoch in (1, 2, 3)), "  warning: collapsed"]


def test_status_shows_who_works_on_what_since_when_and_where(
    bench: Bench, request_plan: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("run", *SHORT, "--quiet")
    monkeypatch.setenv("COLUMNS", "200")
    store, plan = Store("runs"), make_plan(request_plan, load_plugins())
    asked, other = plan.chains[15], "ab" * 32
    with Claims(store.path, command="bench run --methods nac") as claims:
        assert claims.try_claim(asked.key)
        assert claims.try_claim(other)
        words = ["--methods", "random,nac,sela", "--tasks", "knn", "--seeds", ",".join(map(str, range(10)))]
        screen = bench("status", *words).stdout.splitlines()
        content = json.loads(bench("status", *words, "--json").stdout)
        for path in store.path.glob(f"claims/{other}.json"):
            os.utime(path, (0, 0))
        late = bench("status", *words).stdout
    who = f"by process {os.getpid()} on {socket.gethostname()} since 20"
    (line,) = [line for line in screen if line.startswith("running")]
    assert line.startswith(f"running  {asked.label}  epoch 0 of 400")
    assert who in line
    assert screen[-2] == "others in this store:"
    assert screen[-1].startswith(f"  running  {other}  {who}")
    assert "no sign of life" not in "".join(screen)
    assert ", no sign of life for " in late.splitlines()[-1]
    (worker,) = [chain["worker"] for chain in content["chains"] if chain["worker"]]
    assert (worker["pid"], worker["host"]) == (os.getpid(), socket.gethostname())
    assert worker["command"] == "bench run --methods nac"
    assert worker["since"].endswith("+00:00")
