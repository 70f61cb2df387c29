"""Files of strangers are read if they are regular: links, pipes and devices are refused, never followed."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from bench_core.errors import StoreError
from bench_core.files import copy_regular, file_digest, new_folder, read_json, write_once
from bench_core.regular_files import names_in, read_regular


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Folder with one regular file, and with links, a pipe, a folder and a device's link beside it."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"content")
    (tmp_path / "inner" / "folder").mkdir()
    (tmp_path / "inner" / "link").symlink_to("file")
    (tmp_path / "inner" / "dangling").symlink_to("nowhere")
    (tmp_path / "inner" / "device").symlink_to("/dev/zero")
    (tmp_path / "linked").symlink_to("inner")
    os.mkfifo(tmp_path / "inner" / "pipe")
    return tmp_path


def test_regular_file_of_a_stranger_is_read_and_copied(strange: Path) -> None:
    file = strange / "inner" / "file"
    assert read_regular(file, below=strange) == b"content"
    assert read_regular(strange / "linked" / "file") == b"content"  # the folder is our own
    digest = copy_regular(file, strange / "copy", below=strange)
    assert (strange / "copy").read_bytes() == b"content"
    assert digest == copy_regular(file, None) == file_digest(file)
    assert names_in(strange / "inner", below=strange) == ["dangling", "device", "file", "folder", "link", "pipe"]
    assert names_in(strange / "nowhere", below=strange) == []


@pytest.mark.parametrize(
    "name", ["inner/link", "inner/dangling", "inner/device", "inner/pipe", "inner/folder", "inner/none", "linked/file"]
)
def test_what_is_no_regular_file_is_refused_by_name_and_never_waited_for(name: str, strange: Path) -> None:
    for read in (read_regular, lambda path, below: copy_regular(path, strange / "copy", below=below)):
        with pytest.raises(StoreError, match=f"{name} cannot be read"):
            read(strange / name, below=strange)
    assert not (strange / "copy").exists()


@pytest.mark.parametrize("name", ["linked", "inner/file", "inner/pipe", "linked/folder"])
def test_linked_folder_of_a_stranger_is_not_listed(name: str, strange: Path) -> None:
    with pytest.raises(StoreError, match=f"{name} cannot be read"):
        names_in(strange / name, below=strange)


def test_file_that_is_exchanged_for_a_link_after_it_was_listed_is_refused(strange: Path) -> None:
    names = names_in(strange / "inner", below=strange)
    (strange / "elsewhere").mkdir()
    (strange / "elsewhere" / "file").write_bytes(b"secret")
    (strange / "inner").rename(strange / "before")
    (strange / "inner").symlink_to("elsewhere")
    assert "file" in names
    with pytest.raises(StoreError, match="links are not followed"):
        read_regular(strange / "inner" / "file", below=strange)


def test_too_large_file_of_a_stranger_is_not_read(strange: Path) -> None:
    with pytest.raises(StoreError, match="it is too large"):
        read_regular(strange / "inner" / "file", limit=6)
    assert read_regular(strange / "inner" / "file", limit=7) == b"content"


def test_pipe_in_the_place_of_our_own_json_is_an_error_at_once(strange: Path) -> None:
    with pytest.raises(StoreError, match="it is no regular file"):
        read_json(strange / "inner" / "pipe")


def test_no_file_of_a_stranger_stays_open(strange: Path) -> None:
    before = os.listdir("/proc/self/fd")
    inner = strange / "inner"
    for name in ("file", "link", "pipe", "folder", "none"):
        with suppress(StoreError):
            read_regular(inner / name, below=strange)
        with suppress(StoreError):
            names_in(inner / name, below=strange)
    names_in(inner, below=strange)
    copy_regular(inner / "file", strange / "copy", below=strange)
    write_once(strange / "new" / "a.json", {"a": 1})
    with new_folder(strange / "new" / "b", "last.json") as folder:
        write_once(folder / "inner" / "first.json", {"a": 1})
        write_once(folder / "last.json", {"a": 1})
    assert os.listdir("/proc/self/fd") == before
