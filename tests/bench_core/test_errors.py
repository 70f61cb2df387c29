import pytest

from bench_core.errors import UnknownNameError, did_you_mean, one_line, shown


@pytest.mark.parametrize("typed", ["NAC", "Nac", "nca", "NCA", "naç"])
def test_a_similar_name_is_suggested_whatever_its_case(typed: str) -> None:
    assert did_you_mean(typed, ["vae", "nac", "simclr"]) == "; did you mean 'nac'?"


def test_a_name_is_suggested_as_it_is_written() -> None:
    assert did_you_mean("macro_f1", ["Macro_F1", "mAP"]) == "; did you mean 'Macro_F1'?"
    assert did_you_mean("STRASSE", ["straße"]) == "; did you mean 'straße'?"


@pytest.mark.parametrize("typed", ["", "?", "linear", "n" * 100_000])
def test_nothing_is_suggested_where_nothing_is_similar(typed: str) -> None:
    assert did_you_mean(typed, ["nac"]) == "."
    assert did_you_mean(typed, []) == "."


def test_an_unknown_name_ends_with_the_suggestion_and_all_names() -> None:
    assert str(UnknownNameError("method", "NAC", ["vae", "nac"], "See `bench list`.")) == (
        "no method named 'NAC'; did you mean 'nac'? Known: nac, vae. See `bench list`."
    )


def test_an_unknown_name_where_there_are_none_says_so() -> None:
    assert str(UnknownNameError("method", "nac", [])) == "no method named 'nac'. Known: none."


def test_one_line_has_single_blanks_and_nothing_that_steers_a_terminal() -> None:
    assert one_line(" a\n\tb\x1b[31m  c\u202e ± 貓 ") == "a b [31m c ± 貓"


def test_a_value_whose_repr_is_long_or_breaks_is_still_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown("a" * 198) == repr("a" * 198)
    assert shown("a" * 199) == f"'{'a' * 199}..."
    assert shown("a" * 1000) == f"'{'a' * 199}..."
    assert shown(deep) == "a huge list"
    assert shown(10**10_000) == "a huge int"
