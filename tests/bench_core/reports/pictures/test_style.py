"""How pictures become files."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
from matplotlib.figure import Figure

from bench_core.reports.pictures.style import svg_figure


def test_picture_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with svg_figure(tmp_path / "a.svg", "picture 'a'", "first"):
        pass
    before = (tmp_path / "a.svg").read_bytes()

    def write_half(self: Figure, path: Path, **_: object) -> NoReturn:
        path.write_bytes(before[: len(before) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Figure, "savefig", write_half)
    with pytest.raises(OSError, match="No space left"), svg_figure(tmp_path / "a.svg", "picture 'a'", "second"):
        pass
    assert (tmp_path / "a.svg").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]
