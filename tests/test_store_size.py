"""The stores of benchmarks/store_size.py are whole, and its table shows what was measured."""

from pathlib import Path

from bench_core.keys import key_of
from bench_core.running.planned import read_planned
from bench_core.store import Store
from bench_core.store.chain_names import chain_names
from benchmarks.store_size import as_text, commands, make_store, run


def test_a_made_store_holds_as_many_whole_records_as_were_asked_for(tmp_path: Path) -> None:
    make_store(tmp_path / "store", 57)
    store = Store(tmp_path / "store")
    records, planned = store.records(), read_planned(store)
    assert len(records) == 57
    assert planned is not None
    assert {key for chain in planned.chains for key in chain.tasks} == {record.key for record in records}
    assert set(chain_names(store)) == {key_of(record.document.pretrain) for record in records}
    assert len(set(chain_names(store).values())) == len(planned.chains)


def test_a_command_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    make_store(tmp_path / "store", 10)
    seconds, memory = run([*commands(tmp_path / "store")["logs"], "--store", str(tmp_path / "store")])
    assert 0 < seconds < 60
    assert 5 < memory < 1000


def test_sizes_stand_side_by_side() -> None:
    lines = [
        {"records": 100, "command": "table", "cpu_s": 0.312, "mib": 61.6},
        {"records": 10_000, "command": "table", "cpu_s": 1.5, "mib": 135.2},
    ]
    assert "| command | 100 records | 10,000 records |" in as_text(lines)
    assert "| table | 0.31 s, 62 MiB | 1.50 s, 135 MiB |" in as_text(lines)
