import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_core.keys import canonical, differences, flat, key_of, nearest

LEAF = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans(), st.none())
DOCUMENTS = st.dictionaries(st.text(min_size=1), st.recursive(LEAF, lambda c: st.dictionaries(st.text(min_size=1), c)))


def test_the_key_of_a_known_document_never_changes() -> None:
    assert canonical({"b": 1, "a": [0.5, "ü"]}) == '{"a":[0.5,"ü"],"b":1}'
    assert key_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(DOCUMENTS)
def test_the_order_of_names_does_not_matter(document: dict[str, object]) -> None:
    assert key_of(dict(reversed(document.items()))) == key_of(document)


def test_a_value_that_is_not_a_number_has_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"rate": float("nan")})


def test_leaves_have_dotted_paths() -> None:
    assert list(flat({"b": {"d": 1, "c": [2]}, "a": None})) == [("a", None), ("b.c", [2]), ("b.d", 1)]


def test_differences_name_both_values_and_what_one_side_lacks() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3, "d": 4}}) == [("b.c", 2, 3), ("b.d", None, 4)]


def test_the_nearest_record_differs_in_the_fewest_leaves() -> None:
    near, far = {"doc": {"a": 1, "b": 3}}, {"doc": {"a": 2, "b": 3}}
    assert nearest({"a": 1, "b": 2}, [far, near]) is near
    assert nearest({"a": 1}, []) is None
