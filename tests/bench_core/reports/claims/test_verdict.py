"""Verdicts on claims: by hand, against scipy's t tests, and for changes of the values that must not matter."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench_core.reports.claims.claim import Claim
from bench_core.reports.claims.evidence import Evidence, RowValues
from bench_core.reports.claims.verdict import Verdict, judge
from bench_core.reports.tables.model import Column

COLUMN = Column(name="linear", kind="task", task="linear", metric="top1", unit="fraction", higher_is_better=True)
BETTER, WORSE = (0.90, 0.92, 0.91), (0.80, 0.81, 0.82)  # differences .10, .11, .09


def claim(name: str = "one", **changes: Any) -> Claim:
    values: dict[str, Any] = {
        "claim": "It is better.",
        "source": "abstract",
        "by": "paper",
        "paper_scale": "ImageNet",
        "scale": "cpu",
        "board": "mnist",
        "left": "a",
        "right": ("b",),
        "score": "linear:top1",
        "relation": "higher",
        "name": name,
    }
    return Claim(**{**values, **changes})


def evidence(rows: Mapping[str, Sequence[float] | RowValues]) -> Evidence:
    found = {name: row if isinstance(row, RowValues) else RowValues(dict(enumerate(row))) for name, row in rows.items()}
    return Evidence(found, COLUMN)


def verdict(a: Sequence[float] | RowValues, b: Sequence[float] | RowValues = (), **changes: Any) -> Verdict:
    return judge([(claim(**changes), evidence({"a": a, "b": b}))])["one"]


def test_a_claim_is_supported_by_a_difference_beyond_chance_at_three_seeds() -> None:
    found = verdict(BETTER, WORSE)
    (difference,) = found.differences
    t = math.sqrt(300)  # mean .1, standard error .01 / sqrt(3); two degrees of freedom have this p in closed form
    p = 0.5 - t / (2 * math.sqrt(t**2 + 2))
    assert found.p == pytest.approx(p)
    assert found.p_reverse == pytest.approx(1 - p)
    assert difference.seeds == 3
    assert [difference.left, difference.right, difference.mean] == pytest.approx([0.91, 0.81, 0.1])
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert difference.low == pytest.approx(0.1 - half)
    assert difference.high == pytest.approx(0.1 + half)
    assert (found.word, found.text, found.note, found.unit) == ("supported", "supported at CPU size", "", "fraction")


def test_only_a_board_of_the_papers_scale_supports_without_a_limit() -> None:
    assert verdict(BETTER, WORSE, scale="paper").text == "supported"
    assert verdict(WORSE, BETTER).text == "contradicted at CPU size"
    assert verdict((0.7, 0.8, 0.9), (0.9, 0.7, 0.8)).text == "not distinguishable"


def test_a_margin_moves_the_bound() -> None:
    assert verdict(BETTER, WORSE, margin=0.05).word == "supported"
    assert verdict(BETTER, WORSE, margin=0.095).word == "not distinguishable"
    assert verdict(BETTER, WORSE, margin=0.15).word == "contradicted"  # it is higher, but not by that much


def test_no_less_is_a_claim_about_the_margin() -> None:
    worse_by_one_point = [value - 0.01 for value in (0.90, 0.921, 0.909)]
    assert verdict(worse_by_one_point, BETTER, relation="not_lower", margin=0.03).word == "supported"
    assert verdict(worse_by_one_point, BETTER, relation="not_lower", margin=0.01).word == "not distinguishable"
    assert verdict(worse_by_one_point, BETTER, relation="not_lower", margin=0.005).word == "contradicted"
    assert verdict(BETTER, worse_by_one_point, relation="not_higher", margin=0.03).word == "supported"


def test_equal_means_within_the_margin_on_both_sides() -> None:
    assert verdict(BETTER, WORSE, relation="equal", margin=0.15).word == "supported"
    assert verdict(BETTER, WORSE, relation="equal", margin=0.1).word == "not distinguishable"
    assert verdict(BETTER, WORSE, relation="equal", margin=0.05).word == "contradicted"
    assert verdict(WORSE, BETTER, relation="equal", margin=0.05).word == "contradicted"


def test_p_values_are_those_of_independent_t_tests() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.normal(0.3, 1, 5), rng.normal(0, 1, 5)
        shifted = {-0.2: b - 0.2, 0.2: b + 0.2}

        def p(bound: float, side: Literal["greater", "less"], a: Any = a, shifted: Any = shifted) -> float:
            return float(stats.ttest_rel(a, shifted[bound], alternative=side).pvalue)

        expected = {
            "higher": (p(0.2, "greater"), p(0.2, "less")),
            "lower": (p(-0.2, "less"), p(-0.2, "greater")),
            "not_lower": (p(-0.2, "greater"), p(-0.2, "less")),
            "not_higher": (p(0.2, "less"), p(0.2, "greater")),
            "equal": (max(p(-0.2, "greater"), p(0.2, "less")), min(1, 2 * min(p(0.2, "greater"), p(-0.2, "less")))),
        }
        for relation, (forward, reverse) in expected.items():
            found = verdict(list(a), list(b), relation=relation, margin=0.2)
            assert found.p == pytest.approx(forward)
            assert found.p_reverse == pytest.approx(reverse)
            low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
            assert found.differences[0].low == pytest.approx(low)
            assert found.differences[0].high == pytest.approx(high)
        number = verdict(list(a), right=0.1, relation="lower")
        assert number.p == pytest.approx(float(stats.ttest_1samp(a, 0.1, alternative="less").pvalue))
        assert number.differences[0].other == 0.1


SEEDS = st.lists(st.floats(-1, 1), min_size=3, max_size=6)


@given(a=SEEDS, b=SEEDS, scale=st.sampled_from([0.001, 3.0, 1e6]), shift=st.sampled_from([-2.0, 0.0, 5.0]))
def test_a_verdict_depends_neither_on_the_unit_nor_on_which_row_stands_left(
    a: list[float], b: list[float], scale: float, shift: float
) -> None:
    turned = {"supported": "contradicted", "contradicted": "supported"}
    a, b = [round(value, 3) for value in a], [round(value, 3) for value in b]
    word = verdict(a, b).word
    assert verdict(a, b, relation="lower").word == turned.get(word, word)
    assert verdict(b, a).word == turned.get(word, word)
    assert verdict(b, a, relation="lower").word == word
    moved = verdict([scale * value + shift for value in a], [scale * value + shift for value in b])
    if word != "not measured" and abs(verdict(a, b).differences[0].p - 0.05) > 1e-3:
        assert moved.word == word


def test_equal_and_no_less_do_not_mind_the_sides() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = list(rng.normal(0, 1, 4)), list(rng.normal(0, 1, 4))
        assert verdict(a, b, relation="equal", margin=1.0).p == pytest.approx(
            verdict(b, a, relation="equal", margin=1.0).p
        )
        no_less = verdict(a, b, relation="not_lower", margin=0.3)
        no_more = verdict(b, a, relation="not_higher", margin=0.3)
        assert no_less.p == pytest.approx(no_more.p)
        assert no_less.p_reverse == pytest.approx(no_more.p_reverse)


def test_of_several_rows_all_must_be_below_and_one_above_is_enough_to_contradict() -> None:
    rows = {"a": BETTER, "b": WORSE, "c": (0.89, 0.92, 0.90), "d": (0.95, 0.97, 0.97)}

    def over(*right: str) -> Verdict:
        return judge([(claim(right=right), evidence({name: rows[name] for name in ("a", *right)}))])["one"]

    assert over("b").word == "supported"
    both = over("b", "c")
    assert both.word == "not distinguishable"
    assert both.p == max(over("b").p or 0, over("c").p or 0)
    assert over("d").word == "contradicted"
    with_d = over("b", "d")
    assert with_d.p_reverse == pytest.approx(2 * (over("d").p_reverse or 0))
    assert with_d.word == "contradicted"


def test_a_claim_needs_its_control_to_fall() -> None:
    def with_control(control: Sequence[float], right: Sequence[float] = WORSE, **changes: Any) -> Verdict:
        rows = evidence({"a": BETTER, "b": right, "control": control})
        return judge([(claim(control=("control",), **changes), rows)])["one"]

    assert with_control((0.5, 0.51, 0.52)).word == "supported"
    stands = with_control((0.91, 0.92, 0.91))
    assert (stands.word, stands.note) == ("not distinguishable", "control control does not fall")
    assert [difference.is_control for difference in stands.differences] == [False, True]
    assert with_control((0.99, 0.98, 0.99)).word == "not distinguishable"  # controls contradict nothing
    assert with_control((0.88, 0.89, 0.89), margin=0.05).word == "supported"  # the margin is of the claim alone
    unclear = with_control((0.91, 0.92, 0.91), right=(0.91, 0.92, 0.9))
    assert unclear.note == ""  # the control is not what the claim fails at
    of_number = [verdict(BETTER, row, right=0.5, control=("b",)).word for row in (WORSE, BETTER)]
    assert of_number == ["supported", "not distinguishable"]


def test_differences_that_do_not_vary_decide_by_their_mean() -> None:
    found = verdict((0.5, 0.6, 0.7), (0.4, 0.5, 0.6))
    assert (found.word, found.p, found.p_reverse) == ("supported", 0, 1)
    assert (found.differences[0].low, found.differences[0].high) == (None, None)
    assert verdict((0.4, 0.5, 0.6), (0.5, 0.6, 0.7)).word == "contradicted"
    tie = verdict((0.1 + 0.2, 0.3, 0.3), (0.3, 0.3, 0.3))
    assert (tie.word, tie.p, tie.p_reverse) == ("not distinguishable", 1, 1)
    assert verdict((3, 3, 3), right=3.0, relation="equal", margin=0.5).word == "supported"
    assert verdict((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)).word == "not distinguishable"


def test_below_three_common_seeds_there_is_no_verdict() -> None:
    two = verdict((0.9, 0.91), (0.1, 0.1, 0.1))
    assert (two.word, two.note, two.differences, two.p) == (
        "not measured", "2 seeds in common, at least 3 are needed", (), None
    )  # fmt: skip
    others = verdict(RowValues({0: 0.9, 1: 0.9, 2: 0.9}), RowValues({3: 0.1, 4: 0.1, 5: 0.1}))
    assert others.word == "not measured"
    lacking = verdict(RowValues({0: 0.9}, lacks="a has 1 of 3 seeds (0)"), RowValues({}, lacks="no records of b"))
    assert lacking.note == "a has 1 of 3 seeds (0); no records of b"
    measured = verdict(RowValues(dict(enumerate(BETTER)), lacks="a has 3 of 5 seeds (0, 1, 2)"), WORSE)
    assert (measured.word, measured.note) == ("supported", "a has 3 of 5 seeds (0, 1, 2)")


def test_what_is_needed_is_said_where_nothing_is_measured() -> None:
    empty: dict[str, Any] = {"scale": None, "board": "", "left": "", "right": (), "score": "", "relation": None}
    found = judge([(claim(**empty, needs="a board of bands, 3 hours"), Evidence(lacks="no board measures it"))])["one"]
    assert (found.word, found.note) == ("not measured", "needs a board of bands, 3 hours")
    no_records = {"a": RowValues({}, lacks="no records of a"), "b": RowValues({}, lacks="no records of b")}
    found = judge([(claim(needs="3 hours"), evidence(no_records))])["one"]
    assert found.note == "no records of a; no records of b; needs 3 hours"


def test_a_row_that_is_one_network_is_a_number() -> None:
    network = RowValues({0: 0.81}, one_network=True)
    found = verdict(BETTER, network)
    assert (found.p, found.differences[0].seeds) == (verdict(BETTER, right=0.81).p, 3)
    assert verdict(network, BETTER).p_reverse == pytest.approx(found.p)
    assert verdict(network, network).word == "not measured"


def test_caveats_of_the_values_stand_in_the_note() -> None:
    found = verdict(RowValues(dict(enumerate(BETTER)), caveat="a code of 64 bits; 32 rank"), WORSE)
    assert found.note == "a: a code of 64 bits; 32 rank"


def test_the_claims_of_one_paper_share_the_five_per_cent_in_each_direction() -> None:
    close = [value - shift for value, shift in zip(BETTER, (0.01, 0.015, 0.006), strict=True)]
    rows = evidence({"a": BETTER, "b": close})
    alone = judge([(claim(), rows)])["one"]
    assert alone.word == "supported"
    assert alone.p_holm == alone.p
    beside = evidence({"a": (0.7, 0.8, 0.9), "b": (0.9, 0.7, 0.8)})
    missing = Evidence(lacks="no board measures it")
    together = judge([(claim(), rows), (claim("two"), beside), (claim("three"), missing)])
    assert list(together) == ["one", "two", "three"]
    assert together["one"].p_holm == pytest.approx(2 * (alone.p or 0))  # what is not measured does not count
    assert together["one"].word == "not distinguishable"
    of_two = "but not below 0.05 after Holm over the paper's 2 measured claims"
    assert together["one"].note == f"p = 0.029 for the claim, {of_two}"
    assert together["two"].p_holm == together["two"].p
    reverse = judge([(claim(relation="lower"), rows), (claim("two"), beside)])["one"]
    assert reverse.note == f"p = 0.029 against the claim, {of_two}"
    assert reverse.p_reverse_holm == pytest.approx(2 * (alone.p or 0))
