"""Tables of images: CSV and parquet give the same rows, and each wrong row is named."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench_core.data import ImageTable
from bench_core.data.image_table import ImageRows, read_image_table
from bench_core.errors import ConfigError, DataMissingError, RequestError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a folder with three files in the place of images, which a table does not open."""
    root = tmp_path / "mine"
    for file in ("a.png", "b.png", "deep/c.png"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"an image")
    (tmp_path / "outside.png").write_bytes(b"an image")
    return root


def read(root: Path, text: str, labels: Sequence[str] = ("label",), factors: Sequence[str] = ()) -> ImageRows:
    (root / "t.csv").write_text(text, encoding="utf-8")
    return read_image_table("mine", root, ImageTable(root / "t.csv", "path", tuple(labels), tuple(factors)))


def refusal(root: Path, text: str) -> str:
    with pytest.raises(DataMissingError) as caught:
        read(root, text)
    return str(caught.value)


def test_rows_are_sorted_by_path_and_keep_their_numbers(root: Path) -> None:
    rows = read(root, "path,label,split\ndeep/c.png,dog,test\n./a.png,cat,train\n")
    assert rows == ImageRows(("a.png", "deep/c.png"), (3, 2), (("cat",), ("dog",)), ((), ()), ("train", "test"))


def test_table_without_a_split_column_has_no_splits(root: Path) -> None:
    rows = read(root, "path,label,angle\na.png,cat,3\n", factors=["angle"])
    assert rows.splits is None
    assert rows.factors == (("3",),)


def test_absolute_path_inside_the_folder_is_the_same_image(root: Path) -> None:
    assert read(root, f"path,label\n{root / 'a.png'},cat\n").files == ("a.png",)


def test_spreadsheets_may_write_a_byte_order_mark_and_quotes(root: Path) -> None:
    (root / "x, y.png").write_bytes(b"an image")
    assert read(root, '\ufeffpath,label\n"x, y.png","a;b"\n').labels == (("a;b",),)


def test_parquet_gives_the_rows_of_csv(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"path": ["b.png", "a.png"], "label": [["x", "y"], []], "n": [1.0, None], "ok": [True, False]}
    parquet.write_table(pyarrow.table(columns), root / "t.parquet")
    table = ImageTable(root / "t.parquet", "path", ("label",), ("n", "ok"))
    text = "path,label,n,ok\na.png,,,0\nb.png,x;y,1,1\n"
    expected = read(root, text, factors=["n", "ok"])
    rows = read_image_table("mine", root, table)
    assert (rows.files, rows.labels, rows.factors) == (expected.files, expected.labels, expected.factors)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a.png,cat\nz.png,cat\ny.png,cat",
            r"row 3: 'z.png' is no file below .*remove the row \(further rows like this: 1",
        ),
        ("a.png,cat\n../outside.png,dog", "row 3: '../outside.png' lies outside of .*move the image there"),
        ("a.png,cat\nb.png,dog\ndeep/../a.png,dog", "row 4: 'deep/../a.png' is also the image of row 2"),
        (",cat", "row 2: '' is no path; write the path of an image"),
        ("a.png", "row 2: has 1 cells, but the header has 2"),
        ("deep,cat", "row 2: 'deep' is no file below"),
    ],
)
def test_wrong_row_is_named(root: Path, rows: str, message: str) -> None:
    with pytest.raises(DataMissingError, match=message):
        read(root, f"path,label\n{rows}\n")


def test_split_must_be_train_or_test(root: Path) -> None:
    assert "row 2: 'val' is no split; write train or test" in refusal(root, "path,label,split\na.png,cat,val\n")


def test_column_that_is_missing_is_named_with_those_that_are_there(root: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"""no column 'label'; did you mean 'labels'\? Its columns are: path, labels; .*columns='\["NAME"\]'""",
    ):
        read(root, "path,labels\na.png,cat\n")
    with pytest.raises(ConfigError, match=r"name yours with --set image_folder\.path_column=NAME"):
        read(root, "file,label\na.png,cat\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first row"),
        ("path,label\n", "has no rows"),
        ("path,label,label\na.png,x,y\n", "has two columns 'label'"),
        ('path,label\n"a.png,x\n', "is no CSV in UTF-8"),
    ],
)
def test_file_that_is_no_table_is_refused(root: Path, text: str, message: str) -> None:
    assert message in refusal(root, text)


def test_missing_table_names_its_path(root: Path) -> None:
    with pytest.raises(DataMissingError, match=r"none\.csv: cannot be read \(No such file"):
        read_image_table("mine", root, ImageTable(root / "none.csv"))


def test_damaged_parquet_is_refused(root: Path) -> None:
    pytest.importorskip("pyarrow")
    (root / "t.parquet").write_bytes(b"no parquet, but long enough")
    with pytest.raises(DataMissingError, match="is no parquet file"):
        read_image_table("mine", root, ImageTable(root / "t.parquet"))


def test_parquet_without_pyarrow_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(RequestError, match=r"pip install 'bench-core\[parquet\]'"):
        read_image_table("mine", root, ImageTable(root / "t.parquet"))
