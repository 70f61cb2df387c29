"""Malformed boards and reported numbers, from a table of cases and at random, are refused with one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench_core.errors import RequestError
from bench_core.planning.boards import Board, load_board
from bench_core.reports.pages.reported_numbers import load_reported

ROOT = Path(__file__).parents[2]
GOOD = "[datasets.digits]\n[encoders.convnet]\n[methods.nac]\n[tasks.knn]\n"
HUGE = f"0x{'f' * 5000}"

CASES: list[tuple[str, str]] = [  # a board, and a part of the message
    ("=", "is not TOML"), ("a", "is not TOML"), ("[", "is not TOML"), ("title = ", "is not TOML"),
    ("[datasets]\n[datasets]", "is not TOML"), ("a = 1\na = 2", "is not TOML"), ("title = '", "is not TOML"),
    ("x = " + "[" * 3000, "is not TOML"), (f"seeds = [{'9' * 5000}]", "is not TOML"), ("\x00", "is not TOML"),
    (f"seeds = [{HUGE}]", "is not TOML"), ("sseeds = [0]", "sseeds unknown"), ("tasks.knn = 1", "must be a table"),
    ("title = 1", "title must be text"), ("description = []", "description must be text"),
    ("precision = 32", "precision must be text"), (f"precision = 'fp8'\n{GOOD}", "precision must be one of"),
    ("seeds = 0", "seeds must be"), ("seeds = ['0']", "seeds must be"), ("seeds = [-1]", "seeds must be"),
    ("seeds = [true]", "seeds must be"), ("seeds = [0.5]", "seeds must be"), ("seeds = 2020-01-01", "seeds must be"),
    ("recipe = 1", "recipe must be a table"), (f"recipe.epoch = 1\n{GOOD}", "recipe.epoch does not exist"),
    (f"recipe.epochs = 'ten'\n{GOOD}", "recipe.epochs must be int"),
    (f"recipe.epochs = -1\n{GOOD}", "must be >= 0"),
    ("datasets = []", "datasets must be a table"), ("methods = 'nac'", "methods must be a table"),
    ("[methods.'a b']", "must be letters"),
    ("[methods.'../x']", "must be letters"), ("[methods.'']", "must be letters"),
    ('[methods."a\\nb"]', "must be letters"), ("[tasks.'<b>']", "must be letters"),
    ("[methods.nac]\nuse = 1", "use must be the name"), ("[methods.nac]\nrecipe = 1", "recipe must be a table"),
    ("[methods.nac]\ninit = 1", "init must be a row's name"), ("[methods.nac]\ninit = ''", "init must be a row's name"),
    (f"{GOOD}[methods.x]\nuse = 'nca'", "no method named 'nca'"),
    (f"{GOOD}[methods.x]", "no method named 'x'"), (f"{GOOD}[tasks.x]", "no task named 'x'"),
    (f"{GOOD}[methods.x]\nuse = 'nac'\nflp = 1", "x.flp does not exist"),
    (f"{GOOD}[methods.x]\nuse = 'nac'\nflip = 'a'", "x.flip must be float"),
    (f"{GOOD}[methods.x]\nuse = 'nac'\nflip = 7", "flip must be in"),
    (f"{GOOD}[methods.x]\nuse = 'nac:none'", "no variant of nac"),
    (f"{GOOD}[methods.x]\nuse = 'nac'\ninit = 'x'", "init goes in a circle"),
    (f"{GOOD}[methods.x]\nuse = 'nac'\ninit = 'gone'", "is no row of this request"),
    ("[datasets.digits]", "has no [encoders]"), ("", "has no ["), ("only = ['nac']", "no row named 'nac'"),
    (f"only = 'nac'\n{GOOD}", "only must be a list"), (f"only = [1]\n{GOOD}", "only must be a list"),
    (f"only = ['nca']\n{GOOD}", "no row named 'nca'"), ("base = 1", "base must be the name"),
    ("base = 'nowhere'", "no board named 'nowhere'"), ("base = ''", "bases go in a circle"),  # "" is its folder
    ("base = 'board.toml'", "bases go in a circle"), ('base = "a\\u0000b"', "no board named"),
    (f"base = '{'x' * 5000}'", "no board named"), ("pictures = 1", "pictures must be a table"),
    ("pictures.a = 1", "must be a table"), ("[pictures.'../a']", "must be letters"),
    (f"{GOOD}[pictures.a]", "a trade-off needs x and y"),
    (f"{GOOD}[pictures.a]\nkind = 'pie'", "no kind of picture named 'pie'"),
    (f"{GOOD}[pictures.a]\nkind = 'similarity'", "similarity reads embeddings"),
    ("[pictures.a]\nz = 1", "z does not exist"),
    (f"{GOOD}[pictures.a]\nkind = 'pr'\nx = 'a'", "are of the kind tradeoff"),
    ("[pictures.a]\nkind = 'pr'\nmethods = ['x']", "no row named 'x'"),
    ("[pictures.a]\nname = 1\nkind = 'pr'\nmethods = 3", "methods must be"),
]  # fmt: skip

NUMBER = {
    "method": "nac", "dataset": "mnist", "setting": "s", "metric": "top1", "value": 0.5, "source": "paper",
    "url": "https://example.org/a", "verified": "read",
}  # fmt: skip
NUMBERS: list[tuple[str, object, str]] = [  # a field, its value, and a part of the message
    ("value", 1.5, "must be a fraction"), ("value", "high", "value must be float"), ("value", True, "must be float"),
    ("url", "http://example.org", "url must begin with https://"), ("url", "javascript:alert(1)", "url must begin"),
    ("url", "https://a b", "url must begin"), ("url", "https://a) <img src=x onerror=y>", "url must begin"),
    ("url", "https://a|b", "url must begin"), ("source", "", "source must not be empty"), ("method", 3, "must be str"),
    ("beside", "mnist", "beside must be list of str"), ("page", 1, "page does not exist"), ("metric", None, "metric"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), CASES, ids=range(len(CASES)))
def test_a_malformed_board_is_refused_with_one_line_and_the_store_is_unchanged(
    world: Path, refused: Callable[..., str], text: str, message: str
) -> None:
    (world / "board.toml").write_text(text)
    assert message in refused("run", "--board", "board.toml", "--dry-run")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x80\x04K\x01.", b"title = '\xe9'"])
def test_a_board_that_is_no_text_is_refused_with_one_line(
    world: Path, refused: Callable[..., str], content: bytes
) -> None:
    (world / "board.toml").write_bytes(content)
    assert "is not TOML" in refused("table", "--board", "board.toml")


@pytest.mark.parametrize(("field", "value", "message"), NUMBERS, ids=range(len(NUMBERS)))
def test_a_malformed_reported_number_is_refused_with_one_line(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    lines = [f"{k} = {to_toml(v)}" for k, v in {**NUMBER, field: value}.items() if v is not None]
    (tmp_path / "published.toml").write_text("\n".join(["[[number]]", *lines]))
    with pytest.raises(RequestError) as raised:
        load_reported(tmp_path / "published.toml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def to_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_a_reported_number_with_all_fields_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("\n".join(["[[number]]", *(f"{k} = {v!r}" for k, v in NUMBER.items())]))
    assert load_reported(tmp_path / "p.toml")[0].value == 0.5


QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KEYS = st.sampled_from(["title", "seeds", "recipe", "datasets", "methods", "tasks", "pictures", "base", "only", "x.y"])
VALUES = st.one_of(
    st.integers().map(str), st.floats().map(str), st.sampled_from(["true", "1979-05-27", "[]", "{}", "{a = {b = 1}}"]),
    st.text(max_size=9).map(repr), st.lists(st.integers(), max_size=3).map(str),
)  # fmt: skip
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join), KEYS.map("[{}]".format), KEYS.map("[{}.a]".format), st.text(max_size=12)
)
BOARDS = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("leaderboards/*/board.toml"))]
REPORTED = (ROOT / "leaderboards/published.toml").read_text(encoding="utf-8")


def is_board_or_one_line(path: Path, text: str) -> bool:
    """Return True if a document is read, or refused with one line."""
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        return isinstance(load_board(str(path)), Board)
    except RequestError as error:
        return len(str(error).splitlines()) == 1


@QUICK
@given(lines=st.lists(LINES, max_size=8))
def test_any_document_is_read_or_refused_with_one_line(tmp_path: Path, lines: list[str]) -> None:
    assert is_board_or_one_line(tmp_path / "board.toml", "\n".join(lines))


@QUICK
@given(text=st.sampled_from(BOARDS), position=st.floats(0, 1), removed=st.integers(0, 30), inserted=st.text(max_size=5))
def test_a_board_with_a_part_replaced_is_read_or_refused_with_one_line(
    tmp_path: Path, text: str, position: float, removed: int, inserted: str
) -> None:
    start = int(position * len(text))
    assert is_board_or_one_line(tmp_path / "board.toml", text[:start] + inserted + text[start + removed :])


@settings(QUICK, max_examples=30)
@given(position=st.floats(0, 1), removed=st.integers(0, 30), inserted=st.text(max_size=5))
def test_reported_numbers_with_a_part_replaced_are_read_or_refused(
    tmp_path: Path, position: float, removed: int, inserted: str
) -> None:
    start = int(position * 6000)
    path = tmp_path / "published.toml"
    path.write_text(
        (REPORTED[:start] + inserted + REPORTED[start + removed :])[:9000], encoding="utf-8", errors="replace"
    )
    try:
        assert all(number.method for number in load_reported(path))
    except RequestError:
        return
