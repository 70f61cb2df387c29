"""The similarity of methods is read from the embeddings of a store."""

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.draw import draw
from bench_core.reports.pictures.model import PlotRequest
from bench_core.reports.pictures.similarity import Similarity, SimilarityData
from bench_core.reports.tables.entries import Entry
from bench_core.store import Store

ROWS = ("shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)")
PICTURE = Picture(name="similarity", kind="similarity")


def embedding_seals(store: Store) -> list[Path]:
    """The files without which embeddings count as deleted."""
    return sorted((store.path / "chains").glob("*/embeddings/*/done.json"))


def test_every_row_has_similarity_one_with_itself(entries: list[Entry], store: Store) -> None:
    data = Similarity().read(entries, PICTURE, store)
    assert data.methods == ROWS
    assert (data.seed, data.items, data.missing) == (0, 16, ())
    assert torch.equal(data.cka, data.cka.T)
    assert data.cka.diagonal().tolist() == [1.0] * 3
    assert 0.9 < float(data.cka[0, 1]) <= 1.0 + 1e-9  # the same initialisation, a little training


def test_a_seed_at_which_all_rows_have_embeddings_is_preferred(entries: list[Entry], store: Store) -> None:
    embedding_seals(store)[0].unlink()
    assert Similarity().read(entries, PICTURE, store).missing == ()


def test_rows_without_embeddings_are_named(entries: list[Entry], store: Store, tmp_path: Path) -> None:
    first_seed = [entry for entry in entries if entry.seed == 0]
    for seal in embedding_seals(store):
        seal_content = seal.read_text()
        seal.unlink()
        if Similarity().read(first_seed, PICTURE, store).missing:  # else it was one of the second seed
            break
        seal.write_text(seal_content)
    (note,) = draw(first_seed, PICTURE, tmp_path / "p.svg", store)
    (missing,) = Similarity().read(first_seed, PICTURE, store).missing
    assert note == f"no embeddings in this store of {missing}"


def test_a_store_without_embeddings_is_refused(entries: list[Entry], store: Store) -> None:
    for seal in embedding_seals(store):
        seal.unlink()
    with pytest.raises(RequestError, match=r"0 of 3 rows have embeddings of a test split.*deleted"):
        Similarity().read(entries, PICTURE, store)


def test_published_records_alone_are_refused(entries: list[Entry], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="embeddings, which are not published"):
        draw(entries, PICTURE, tmp_path / "p.svg")


def test_the_first_row_is_at_the_top_and_each_square_has_its_number() -> None:
    cka = torch.tensor([[1.0, 0.25], [0.5, 1.0]])
    figure = Figure()
    Similarity().paint(figure, SimilarityData("blobs", "tiny", ("first", "second"), cka, 0, 16, ()), PICTURE)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # y grows downwards
    places = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert places >= {((0.5, 0.5), "1.00"), ((1.5, 0.5), "0.25"), ((0.5, 1.5), "0.50"), ((1.5, 1.5), "1.00")}


def test_embeddings_are_read_only_where_the_kind_is_asked_for(entries: list[Entry]) -> None:
    assert list(Similarity().possible_pictures(entries, PlotRequest())) == []
    (picture,) = Similarity().possible_pictures(entries, PlotRequest(kind="similarity", methods=ROWS[:2]))
    assert (picture.kind, picture.methods) == ("similarity", ROWS[:2])


@pytest.mark.parametrize(("title", "shown"), [("", "blobs, tiny: 16 test items"), ("Alike", "Alike: 16 test items")])
def test_the_title_of_a_picture_replaces_the_names_of_its_data(title: str, shown: str) -> None:
    figure = Figure()
    data = SimilarityData("blobs", "tiny", ("first", "second"), torch.eye(2), 0, 16, ())
    Similarity().paint(figure, data, Picture(name="similarity", kind="similarity", title=title))
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    assert any(shown in text.get_text() for text in texts)
