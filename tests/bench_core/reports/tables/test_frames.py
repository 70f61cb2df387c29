from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import pytest

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.frames import COLUMNS, tidy, wide
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]


def frame_of(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return the tidy frame of records that are given as JSON objects."""
    return tidy(map(record_from_json, records))


def test_frame_has_one_line_for_each_score_and_the_first_is_primary(make_record: Make, make_score: Make) -> None:
    scores = [make_score("map", 0.8), make_score("bound", 3.0, unit="nats", chance=None, embedding="code")]
    frame = frame_of([make_record("nac", "retrieval", 0, scores)])
    assert frame["metric"].tolist() == ["map", "bound"]
    assert frame["value"].tolist() == [0.8, 3.0]
    assert frame["primary"].tolist() == [True, False]
    assert frame["embedding"].tolist() == ["features", "code"]
    assert frame["chance"].isna().tolist() == [False, True]


def test_columns_hold_the_values_of_the_record(make_record: Make) -> None:
    record = make_record("nac", "linear", 3, 0.97, uses_labels=True)
    row = frame_of([record]).iloc[0].to_dict()
    assert row == {
        "dataset": "digits",
        "encoder": "convnet",
        "method": "nac",
        "task": "linear",
        "seed": 3,
        "metric": "top1",
        "value": 0.97,
        "unit": "fraction",
        "higher_is_better": True,
        "chance": 0.1,
        "best": row["best"],
        "ranks": True,
        "caveat": "",
        "embedding": "features",
        "n": 540,
        "primary": True,
        "family": "classification",
        "epochs": 20,
        "batch_size": 128,
        "uses_labels": True,
        "parameters": 123456,
        "pretrain_s": 23.0,
        "embed_s": 0.4,
        "task_s": 0.2,
        "images_per_s": 12345.4,
        "peak_memory_gib": 0.8,
        "precision": row["precision"],
        "device": "cpu: Test",
        "threads": 2,
        "bench": "0.1.0",
        "commit": "abcdef0123456789",
        "dirty": False,
        "torch": "2.6.0",
        "started": "2026-01-04T00:00:00+00:00",
        "ended": "2026-01-04T00:01:00+00:00",
        "key": record["key"],
        "fold": "",
    }


def test_frame_tells_what_ranks(make_record: Make, make_score: Make) -> None:
    scores = [make_score("map", 0.8, best=0.9, ranks=False, caveat="by ITQ"), make_score("top1", 0.3)]
    frame = frame_of([make_record("a", "t", 0, scores), make_record("a", "regions", 0, 0.5, ranks=False)])
    assert frame["ranks"].tolist() == [False, False, True]
    assert frame["caveat"].tolist() == ["", "by ITQ", ""]
    assert frame["best"].tolist()[1] == 0.9


def test_columns_and_dtypes_are_the_same_with_and_without_records(make_record: Make) -> None:
    bare = make_record("nac", "linear", 0, None, provenance={}, cost=None, facts={})
    for frame in (
        tidy([]),
        frame_of([make_record("nac", "linear", 0, 0.5)]),
        frame_of([bare]),
    ):
        assert list(frame.columns) == list(COLUMNS)
        assert [str(dtype) for dtype in frame.dtypes] == list(COLUMNS.values())
    assert tidy([]).empty
    assert frame_of([bare])["value"].isna().all()


def test_rows_are_sorted_whatever_the_order_of_the_records(make_record: Make) -> None:
    records = [make_record(m, "linear", s, 0.5) for m in ("b", "a") for s in (1, 0)]
    frame = frame_of(records)
    assert list(zip(frame["method"], frame["seed"], strict=True)) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert frame.equals(frame_of(records[::-1]))


def test_one_name_for_two_things_cannot_be_averaged_by_accident(make_record: Make) -> None:
    frame = frame_of(make_record("nac", "linear", 0, flip, config={"flip": flip}) for flip in (0.1, 0.3))
    assert frame.groupby("method")["value"].mean().to_dict() == {"nac (flip=0.1)": 0.1, "nac (flip=0.3)": 0.3}


def test_wide_frame_has_a_line_for_each_row_and_where_it_ranks(make_record: Make, make_score: Make) -> None:
    records = [
        *(make_record("nac", "linear", seed, 0.5 + seed / 10) for seed in (0, 1, 2)),
        *(make_record("vae", "linear", seed, 0.4) for seed in (0, 1)),
        make_record("nac", "retrieval", 0, [make_score("map", 0.8)]),
    ]
    frame = wide(build(entries_of(map(record_from_json, records)))).set_index("method")
    nac, vae = frame.loc["nac"], frame.loc["vae"]
    assert (nac["linear"], nac["linear_n"], nac["linear_ranked"]) == (pytest.approx(0.6), 3, True)
    assert nac["linear_halfwidth"] == pytest.approx(4.30265 * 0.1 / 3**0.5, rel=1e-4)
    assert (nac["retrieval"], vae["linear_n"]) == (0.8, 2)
    assert pd.isna(vae["retrieval"])
    assert not vae["retrieval_ranked"]
    assert frame["row"].to_dict() == {"nac": "method", "vae": "method", "chance": "chance"}
    assert not any(isinstance(value, str) and "halfwidth" in str(name) for name, value in nac.items())
