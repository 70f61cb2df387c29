"""A page for each record: where it is, that nothing of the record is left out, and that hostile texts stay texts."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench_core.keys import key_of
from bench_core.plugins import Registry
from bench_core.reports.pages.published_logs import ChainLog
from bench_core.reports.site import cell_pages
from bench_core.reports.site.cell_content import command_lines, curves_of, provenance_parts, recipe_parts, score_lines
from bench_core.reports.site.cell_logs import log_data, summary_of
from bench_core.reports.site.cell_pages import cell_addresses, write_cells
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.entries import entries_of
from bench_core.store.chain_files import CHAIN
from bench_core.store.record import Record, record_from_json
from bench_core.store.store import Store

HOSTILE = "</script><img src=x onerror=alert(1)>"


def record(task: str = "knn", seed: int = 0, method: str = "nac", **changes: Any) -> Record:
    """A record of a made training."""
    document = {
        "protocol": 1,
        "task": {"id": f"bench-core/{task}", "revision": 2, "config": {"k": 20}},
        "embed": {
            "protocol": 1,
            "pretrain": {
                "protocol": 1,
                "dataset": {
                    "id": "bench-core/digits",
                    "revision": 1,
                    "config": {"train_size": None},
                    "digest": "sha256:0",
                },
                "encoder": {"id": "bench-core/convnet", "revision": 1, "config": {"widths": [32, 64]}},
                "method": {"id": f"bench-core/{method}", "revision": 1, "config": {"flip": 0.1, "noise": True}},
                "recipe": {"optimizer": "adamw", "learning_rate": 0.003, "epochs": 400},
                "precision": "fp32",
                "seed": seed,
            },
        },
    }
    score = {
        "metric": "top1", "value": 0.96851, "unit": "fraction", "higher_is_better": True, "chance": 0.1, "best": None,
        "embedding": "features", "n": 540, "ranks": True, "caveat": "",
    }  # fmt: skip
    stored = {
        "format": 1,
        "key": key_of(document),
        "doc": document,
        "names": {"dataset": "digits", "encoder": "convnet", "method": method, "task": task},
        "scores": [score],
        "protocol": "test against train",
        "notes": ["a note"],
        "curves": {},
        "images": {},
        "facts": {"recipe_from": "board digits", "warnings": [], "splits": {"train": 10, "test": 5}},
        "provenance": {
            "command": "/home/me/bin/bench run --board digits --store /home/me/runs",
            "commit": "abc1234",
            "started": "2026-11-30T13:49:17+00:00",
            "packages": {"numpy": "2.4.6"},
            "pretrain": {"device": "cpu: X", "command": "bench run --board digits --data-root /home/me/data"},
        },
        "cost": {"pretrain_s": 75.8672, "images_per_s": 5398.9},
    }
    return record_from_json({**stored, **changes})


def content(*boards: list[Record], store: Store | None = None) -> SiteContent:
    made = [
        SiteBoard(f"board_{n}", f"Board {n}", "", "bench run --board x", entries_of(records), store=store)
        for n, records in enumerate(boards)
    ]
    return SiteContent(made, (), Registry(), None)


def written(tmp_path: Path, *boards: list[Record], store: Store | None = None) -> Path:
    write_cells(SiteWriter(tmp_path), content(*boards, store=store))
    return tmp_path


def page(folder: Path, of: Record) -> str:
    return (folder / f"cells/{of.key[:16]}.html").read_text()


def parts(folder: Path) -> dict[str, str]:
    """All parts of pages that are data."""
    found: dict[str, str] = {}
    for path in sorted((folder / "data/cells").glob("*.js")):
        name, value = re.fullmatch(r'bench\.put\("cells/(\w+)", (.*)\);\n', path.read_text()).groups()  # type: ignore[union-attr]  # None fails the test, too
        assert all(key.startswith(name) for key in json.loads(value))
        found |= json.loads(value)
    return found


def test_the_first_records_have_pages_whatever_the_order_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_pages, "PAGES", 3)
    one, two = [record("knn", seed) for seed in range(2)], [record("linear", seed) for seed in range(2)]
    addresses = cell_addresses(content(one, [*one, *two]))
    first, second = sorted(r.key for r in one), sorted(r.key for r in two)
    assert list(addresses) == [*first, *second]
    assert [addresses[key] for key in first] == [f"cells/{key[:16]}.html" for key in first]
    assert addresses[second[0]] == f"cells/{second[0][:16]}.html"
    assert addresses[second[1]] == f"cell.html#{second[1][:16]}"
    assert cell_addresses(content(one[::-1], [*two, *one])) == addresses


def test_a_page_tells_all_of_its_record(tmp_path: Path) -> None:
    of = record()
    text = page(written(tmp_path, [of, record("linear"), record(seed=1)]), of)
    for said in (
        of.key, "96.85 %", "0.96851", "10.00 %", "higher ↑", "540", "features", "test against train", "Note: a note",
        "<dt>flip<dd>0.1", "<dt>noise<dd>yes", "<dt>widths<dd>[32, 64]", "<dt>train_size<dd>none",
        "<dt>learning_rate<dd>0.003", "<dt>epochs<dd>400", "<dt>k<dd>20", "<dt>precision<dd>fp32", "<dt>seed<dd>0",
        "abc1234", "2026-11-30 13:49:17 UTC", "numpy 2.4.6", "cpu: X", "75.87 s", "5,399 images/s", "train 10, test 5",
        "Log: not kept.", "Weights: not published", f"bench verify {of.key[:12]} --store runs", "board digits",
    ):  # fmt: skip
        assert said in text, said
    assert "/home/me" not in text
    assert f'href="../cells/{record("linear").key[:16]}.html"' in text
    assert f'href="../cells/{record(seed=1).key[:16]}.html"' in text
    assert 'href="../boards/board_0.html"' in text


def test_every_leaf_of_a_document_is_on_the_page_once() -> None:
    of = record()
    shown = [name for part in recipe_parts(of) for name, _ in part.lines]
    assert len(shown) == 4 * 2 + 1 + 5 + 3 + 5  # ids and revisions, a digest, parameters, the recipe, and the rest
    assert shown[-5:] == ["protocol", "precision", "seed", "embedding: protocol", "task: protocol"]


def test_texts_of_records_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = {HOSTILE: {HOSTILE: [0.0, 1.0], "y": [1.0, 2.0]}}
    of = record(method=HOSTILE, notes=[HOSTILE], protocol=HOSTILE, curves=curves, images={"a": HOSTILE})
    of = record_from_json({**of.stored, "provenance": {"command": HOSTILE, HOSTILE: HOSTILE}})
    text = page(written(tmp_path / "page", [of]), of)
    monkeypatch.setattr(cell_pages, "PAGES", 0)
    [part] = parts(written(tmp_path / "data", [of])).values()
    for made in (text, part):
        assert "<img" not in made
        assert made.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") >= 6
    assert part.count("</script>") == 0


def test_a_picture_is_an_image_with_a_text_in_its_place(tmp_path: Path) -> None:
    of = record(images={"some_samples": "iVBORw0KGgoAAAA", "no_png": "data"})
    text = page(written(tmp_path, [of]), of)
    assert 'src="data:image/png;base64,iVBORw0KGgoAAAA"' in text
    assert 'alt="some samples: a grid of images by nac on digits, seed 0"' in text
    assert text.count("<img") == 1


def test_curves_have_their_x_first_and_long_ones_every_so_manyth_point() -> None:
    values = [k / 7 for k in range(1200)]
    of = record(curves={"pr_8": {"precision": [1.0, 0.5], "recall": [0.0, 1.0]}, "long": {"x": values, "y": values},
                        "one": {"x": [1], "y": [2]}})  # fmt: skip
    first, long, one = curves_of(of)
    assert (first.columns, first.rows) == (["recall", "precision"], [["0", "1"], ["1", "0.5"]])
    assert (len(long.rows), long.length, long.rows[1]) == (400, 1200, ["0.42857", "0.42857"])  # every third: 3 / 7
    assert (first.drawn, one.drawn) == (True, False)


def test_scores_that_are_missing_or_not_finite_are_said_in_words() -> None:
    scores = [
        {"metric": "a", "value": None, "unit": "", "higher_is_better": False, "ranks": False},
        {"metric": "b", "value": float("nan"), "unit": "nats", "higher_is_better": None, "caveat": "look out"},
        {"metric": "c", "value": 1234.56, "unit": "nats", "higher_is_better": False, "n": 1000},
    ]
    first, second, third = score_lines(record(scores=scores))
    assert (first["text"], first["direction"]) == ("not measured", "lower ↓; not ranked")
    assert (second["text"], second["direction"], second["caveat"]) == ("nan", "none", "look out")
    assert (third["text"], third["exact"], third["n"]) == ("1235 nats", "1234.56", "1,000")


def test_commands_have_no_paths_of_the_machine() -> None:
    [board] = content([record()]).boards
    commands = [command for _, command in command_lines(record(), board)]
    assert commands == ["bench run --board digits", f"bench verify {record().key[:12]} --store runs"]
    [task, training] = provenance_parts(record())
    assert dict(task.lines)["command"] == dict(training.lines)["command"] == "bench run --board digits"


def test_records_without_a_page_are_data_that_begin_with_the_digits_of_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_pages, "PAGES", 5)
    monkeypatch.setattr(cell_pages, "_TOGETHER", 2)
    records = [record(seed=seed) for seed in range(40)]
    folder = written(tmp_path, records)
    assert len(list((folder / "cells").glob("*"))) == 5
    assert len(list((folder / "data/cells").glob("*"))) == 256  # 35 records, two together: two digits
    kept = sorted(r.key for r in records)[5:]
    assert sorted(parts(folder)) == [key[:16] for key in kept]
    assert 'data-digits="2"' in (folder / "cell.html").read_text()
    assert f'href="cell.html#{kept[1][:16]}"' in parts(folder)[kept[0][:16]]
    assert 'href="boards/board_0.html"' in parts(folder)[kept[0][:16]]


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    records = [record(task, seed) for task in ("knn", "linear") for seed in range(3)]
    made = [written(tmp_path / str(n), order) for n, order in enumerate([records, records[::-1]])]
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in made]
    assert files[0] == files[1]


def test_the_log_of_a_chain_is_written_once_for_all_its_cells(tmp_path: Path) -> None:
    store, records = Store(tmp_path / "runs"), [record(), record("linear")]
    chain = key_of(records[0].document.pretrain)
    folder = store.chain_folder(chain)
    folder.mkdir(parents=True)
    log = [{"epoch": 1, "loss": 2.0, "warnings": [HOSTILE]}, {"epoch": 2, "loss": 1.5, "step": 8, "part": 0.123456789}]
    (folder / CHAIN).write_text(json.dumps({"log": log}))
    (folder / "weights.safetensors").write_bytes(b"")
    out = written(tmp_path / "site", records, store=store)
    [data] = (out / "data/logs").glob("*")
    assert data.read_text() == (
        f'bench.put("log/{chain[:16]}", {{"columns":["epoch","loss","part"],"rows":[[1,2,null],[2,1.5,0.12346]]}});\n'
    )
    for of in records:
        text = page(out, of)
        assert f'data-address="data/logs/{chain[:16]}.js"' in text
        assert "2 lines" in text
        assert "epoch 1  loss 2" in text
        assert "epoch 1: &lt;/script&gt;" in text
        assert f"bench path {chain[:12]} --store runs" in text


def test_a_published_board_has_its_own_logs_and_commands(tmp_path: Path) -> None:
    of, other = record(), record(seed=1)
    chain = key_of(of.document.pretrain)
    (tmp_path / "boards/mine/logs").mkdir(parents=True)
    log = '{"lines":900,"columns":["epoch","loss","warnings"]}\n[1,2.5]\n[900,0.5,["low"]]\n'
    (tmp_path / f"boards/mine/logs/{chain}.jsonl").write_text(log)
    site = content([of, other])
    published: Any = SimpleNamespace(folder=tmp_path / "boards/mine")
    board = replace(site.boards[0], published=published)
    write_cells(SiteWriter(tmp_path / "site"), replace(site, boards=[board]))
    text = page(tmp_path / "site", of)
    assert "900 lines, of which 2 are kept" in text
    assert "epoch 900: low" in text
    assert "bench run --board x --datasets digits --methods nac --tasks knn --seeds 0" in text
    assert f"bench verify {of.key[:12]} --store boards/mine" in text
    assert "Log: not kept." in page(tmp_path / "site", other)
    assert len(list((tmp_path / "site/data/logs").glob("*"))) == 1


def test_a_warning_of_many_epochs_is_said_once() -> None:
    lines = [{"epoch": epoch, "loss": 1.0, "warnings": ["low"] if epoch > 2 else []} for epoch in range(1, 6)]
    log = ChainLog([*lines, {"after_training": {"prior": 0.5}}], 900)
    summary = summary_of(log, "n", "a")
    assert summary.warnings == [("3 of the lines kept, epochs 3 to 5", "low")]
    assert (summary.length, summary.kept) == (900, 6)
    assert summary.ends == ["epoch 1  loss 1", "epoch 5  loss 1", "after training  prior 0.5"]
    assert log_data(log)["rows"][0] == [1, 1]


def test_a_stale_cell_says_why(tmp_path: Path) -> None:
    of = record()
    site = content([of])
    [entry] = site.boards[0].entries
    stale = replace(site.boards[0], entries=[replace(entry, state="stale", reason="task.revision was 1, is 2")])
    write_cells(SiteWriter(tmp_path), replace(site, boards=[stale]))
    assert "task.revision was 1, is 2" in page(tmp_path, of)
