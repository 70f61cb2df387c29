import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_core.keys import canonical_json, differences, key_of, leaves

LEAF = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans(), st.none())
DOCUMENTS = st.dictionaries(st.text(min_size=1), st.recursive(LEAF, lambda c: st.dictionaries(st.text(min_size=1), c)))


def test_key_of_a_known_document_never_changes() -> None:
    assert canonical_json({"b": 1, "a": [0.5, "ü"]}) == '{"a":[0.5,"ü"],"b":1}'
    assert key_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(DOCUMENTS)
def test_order_of_names_does_not_change_the_key(document: dict[str, object]) -> None:
    assert key_of(dict(reversed(document.items()))) == key_of(document)


def test_document_with_nan_has_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"rate": float("nan")})


def test_leaves_have_dotted_paths_sorted_by_name() -> None:
    assert list(leaves({"b": {"d": 1, "c": [2]}, "a": None})) == [("a", None), ("b.c", [2]), ("b.d", 1)]


def test_differences_hold_both_values_and_none_where_one_side_lacks_a_leaf() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3, "d": 4}}) == [("b.c", 2, 3), ("b.d", None, 4)]
