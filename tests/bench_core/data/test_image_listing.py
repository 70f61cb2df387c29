"""Which files of a folder are images of which class, and which are passed over."""

import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder as ImageFolderOfTorchvision

from bench_core.data import image_cache, image_listing
from bench_core.data.image_formats import first_bytes
from bench_core.data.image_listing import Listing, scan, scan_tree
from bench_core.errors import DataMissingError


def content(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (2, 2)).save(out, kind)
    return out.getvalue()


def put(root: Path, *files: str, data: bytes | None = None) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content() if data is None else data)


def listed(root: Path, **options: bool) -> Listing:
    return scan("mine", root, "train", **options)


def test_images_at_any_depth_belong_to_the_first_folder_and_are_sorted_by_path(tmp_path: Path) -> None:
    put(tmp_path, "train/b/z.png", "train/b/1/2/3/a.jpg", "train/a/1/x.png", "train/a/0.png", "other/c/x.png")
    assert listed(tmp_path) == Listing(
        ("train/a/0.png", "train/a/1/x.png", "train/b/1/2/3/a.jpg", "train/b/z.png"),
        ("a", "a", "b", "b"), ("a", "b"), (),
    )  # fmt: skip


def test_listing_is_that_of_torchvision(tmp_path: Path) -> None:
    put(tmp_path, "train/b/z.png", "train/b/1/a.JPG", "train/a/deep/er/x.webp", "train/a/0.bmp")
    put(tmp_path, "train/a/deep/notes.txt", data=b"no image")
    (tmp_path / "far").mkdir()
    put(tmp_path, "far/linked.png")
    (tmp_path / "train" / "a" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "train" / "c").symlink_to(tmp_path / "far")
    (tmp_path / "train" / "b" / "file.png").symlink_to(tmp_path / "far" / "linked.png")
    theirs = ImageFolderOfTorchvision(str(tmp_path / "train"))
    listing = listed(tmp_path)
    expected = sorted((os.path.relpath(path, tmp_path), theirs.classes[label]) for path, label in theirs.samples)
    assert list(zip(listing.files, listing.classes, strict=True)) == expected
    assert list(listing.folders) == theirs.classes


SUFFIXES = ("jfif", "jpe", "JPEG", "JpG", "bmp", "gif", "pbm", "pgm", "pnm", "ppm", "tif", "TIFF", "webp", "png")


def test_file_with_the_suffix_of_an_image_is_listed_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *(f"train/a/x.{suffix}" for suffix in SUFFIXES), data=b"not an image")
    monkeypatch.setattr(image_listing, "first_bytes", None)
    assert len(listed(tmp_path).files) == len(SUFFIXES)


@pytest.mark.parametrize("name", ["photo", "photo.JPEG_", "photo.img", "photo.png.bak", "photo.txt", "photo.jpg~"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_file_of_another_suffix_is_an_image_if_it_begins_like_one(tmp_path: Path, name: str, kind: str) -> None:
    put(tmp_path, f"train/a/{name}", data=content(kind))
    put(tmp_path, "train/a/empty", data=b"")
    put(tmp_path, "train/a/text.JPEG_", data=b"not an image")
    listing = listed(tmp_path)
    assert listing.files == (f"train/a/{name}",)
    assert listing.passed_over == ("train/a/empty", "train/a/text.JPEG_")


def test_hidden_entries_and_those_outside_of_classes_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "train/a/x.png", "train/a/.y.png", "train/a/.cache/z.png", "train/.b/z.png", "train/loose.png")
    (tmp_path / "train" / ".#lock").symlink_to("nowhere")
    listing = listed(tmp_path)
    assert listing.files == ("train/a/x.png",)
    assert listing.passed_over == ("train/.#lock", "train/.b", "train/a/.cache", "train/a/.y.png", "train/loose.png")


def test_pipe_without_the_suffix_of_an_image_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "train/a/x.png")
    os.mkfifo(tmp_path / "train" / "a" / "pipe")  # opening it would wait for a writer
    (tmp_path / "train" / "a" / "gone").symlink_to("nowhere")
    assert listed(tmp_path).passed_over == ("train/a/gone", "train/a/pipe")


def test_class_folder_without_images_is_in_the_listing(tmp_path: Path) -> None:
    put(tmp_path, "train/a/x.png")
    (tmp_path / "train" / "b" / "deep").mkdir(parents=True)
    assert listed(tmp_path).folders == ("a", "b")
    assert listed(tmp_path).without(["train/a/x.png"]) == Listing((), (), ("a", "b"), ())


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/", "self"])
def test_link_to_a_folder_that_contains_it_ends_the_walk(tmp_path: Path, target: str) -> None:
    put(tmp_path, "images/train/a/b/x.png")
    link = tmp_path / "images" / "train" / "a" / "b" / "self"
    link.symlink_to(target)
    listing = listed(tmp_path / "images")
    assert listing.files == ("train/a/b/x.png",)
    assert listing.passed_over == ("train/a/b/self",)


def test_two_folders_that_link_to_each_other_end_the_walk(tmp_path: Path) -> None:
    put(tmp_path, "train/a/x.png", "train/b/y.png")
    (tmp_path / "train" / "a" / "to_b").symlink_to(tmp_path / "train" / "b")
    (tmp_path / "train" / "b" / "to_a").symlink_to(tmp_path / "train" / "a")
    listing = listed(tmp_path)
    assert listing.files == ("train/a/to_b/y.png", "train/a/x.png", "train/b/to_a/x.png", "train/b/y.png")
    assert listing.passed_over == ("train/a/to_b/to_a", "train/b/to_a/to_b")


def test_a_split_that_is_no_folder_is_empty(tmp_path: Path) -> None:
    assert listed(tmp_path) == Listing((), (), (), ())
    (tmp_path / "train").write_text("")
    assert listed(tmp_path) == Listing((), (), (), ())


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\x1b[2J"])
def test_folder_below_a_class_must_be_printable_too(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"train/a/{name}/x.png")
    with pytest.raises(DataMissingError, match="must be printable UTF-8; rename it") as caught:
        listed(tmp_path)
    assert str(caught.value).isprintable()


def test_names_in_any_script_and_with_emoji_are_fine(tmp_path: Path) -> None:
    family = "\U0001f468\u200d\U0001f469"  # joined by a character that is not printable
    put(tmp_path, f"train/{family}/\u732b \u00e9.png")
    assert listed(tmp_path).classes == (family,)


def test_error_of_the_file_system_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "train/a/photo")

    def refuse(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(image_listing, "first_bytes", refuse)
    with pytest.raises(DataMissingError, match=r"mine: .*train/a/photo: cannot be read \(Permission denied\)"):
        listed(tmp_path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List of the files that were opened for their first bytes; all count as written long ago."""
    monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))
    names: list[str] = []

    def note(path: Path) -> bytes:
        names.append(path.name)
        return first_bytes(path)

    monkeypatch.setattr(image_listing, "first_bytes", note)
    return names


def test_first_bytes_are_read_once_until_the_stamp_changes(tmp_path: Path, opened: list[str]) -> None:
    put(tmp_path, "train/a/photo")
    put(tmp_path, "train/a/notes", data=b"no image")
    first = listed(tmp_path)
    assert listed(tmp_path) == first
    assert sorted(opened) == ["notes", "photo"]
    put(tmp_path, "train/a/notes")
    os.utime(tmp_path / "train" / "a" / "notes", ns=(1, 1))
    assert listed(tmp_path).files == ("train/a/notes", "train/a/photo")
    assert sorted(opened) == ["notes", "notes", "photo"]
    assert listed(tmp_path, trust_cache=False).files == ("train/a/notes", "train/a/photo")
    assert len(opened) == 5


def test_answer_about_a_file_that_was_just_written_is_not_kept(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "SETTLED_NS", 10**15)
    put(tmp_path, "train/a/photo")
    assert listed(tmp_path) == listed(tmp_path)
    assert opened == ["photo", "photo"]
    assert not (tmp_path / ".bench-cache").exists()


@pytest.mark.parametrize("answer", ['"PNG"', '["x", "PNG"]', "[]", "null", '["x"]'])
def test_strange_answer_in_the_cache_is_read_again(tmp_path: Path, opened: list[str], answer: str) -> None:
    put(tmp_path, "train/a/photo", data=b"no image")
    (tmp_path / ".bench-cache").mkdir()
    image_cache.write_entry(tmp_path / ".bench-cache" / "train-kinds.json", {"train/a/photo": json.loads(answer)})
    assert listed(tmp_path).files == ()
    assert opened == ["photo"]


def test_files_that_are_gone_leave_the_cache(tmp_path: Path, opened: list[str]) -> None:
    put(tmp_path, "train/a/photo", "train/a/other")
    listed(tmp_path)
    (tmp_path / "train" / "a" / "other").unlink()
    listed(tmp_path)
    assert list(image_cache.read_entry(tmp_path / ".bench-cache" / "train-kinds.json")) == ["train/a/photo"]


def test_tree_has_all_images_and_the_first_folder_of_each(tmp_path: Path) -> None:
    put(tmp_path, "b.png", "cat/a.png", "cat/deep/c.png", ".bench-cache/d.png", ".git/e.png", "notes.txt")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cat" / "back").symlink_to(tmp_path)
    tree = scan_tree("mine", tmp_path)
    assert tree.files == ("b.png", "cat/a.png", "cat/deep/c.png")
    assert tree.classes == ("", "cat", "cat")
    assert tree.folders == ("cat",)
    assert tree.passed_over == (".git", "cat/back", "notes.txt")


def test_tree_of_a_folder_that_is_missing_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="missing: cannot be read"):
        scan_tree("mine", tmp_path / "missing")
