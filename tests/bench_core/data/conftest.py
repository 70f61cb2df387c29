"""A folder of labelled images, which several test files read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of two classes, with three images to train on and two to test on."""
    root = tmp_path / "images"
    names = ("train/dog/b.png", "train/cat/10.png", "train/cat/9.PNG", "test/cat/x.png", "test/dog/y.png")
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.RandomState(seed).randint(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / "cat" / ".hidden.png").write_text("no image")
    return root
