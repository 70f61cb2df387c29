"""`bench check --datasets` reads data of one's own, with the parameters that are set."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench_core.cli.group import main


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Folder of four images of two classes."""
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            path = tmp_path / "pets" / split / name / "a.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((6, 6, 3), 100 * label, np.uint8)).save(path)
    return tmp_path / "pets"


def check(*words: str) -> Result:
    return CliRunner().invoke(main, ["check", *words])


def test_splits_of_own_data_are_compared_with_their_description(pets: Path) -> None:
    result = check("--datasets", "image_folder", "--set", f"image_folder.path={pets}", "--set", "image_folder.size=4")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ok    dataset image_folder: its files can be read, and have the digest sha256:")
    assert lines[1:] == [
        f"ok    dataset image_folder: split '{split}' has 2 items, as its description says"
        for split in ("train", "test")
    ]


def test_data_root_holds_the_data(pets: Path) -> None:
    words = ("--datasets", "image_folder", "--set", "image_folder.path=pets")
    assert check(*words, "--data-root", str(pets.parent)).exit_code == 0
    assert check(*words).exit_code == 1


def test_what_cannot_be_used_fails_and_the_rest_is_checked(pets: Path) -> None:
    (pets / "train" / "cat" / "a.png").write_bytes(b"no image")
    result = check("--datasets", "image_folder,digits", "--set", f"image_folder.path={pets}")
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert "split 'train': " in line
    assert "1 of 2 images cannot be read, the first is " in line
    assert "ok    dataset digits: split 'test' has " in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Missing argument 'NAME_OR_PACKAGE...', or --datasets NAME."),
        (("--datasets", "digit"), "did you mean 'digits'?"),
        (("--datasets", "digits", "--set", "mnist.train_size=3"), "--set mnist.train_size is of no dataset that is"),
        (("nac", "--set", "mnist.train_size=3"), "is of no dataset that is checked (none); add it."),
        (("--datasets", "digits", "--set", "digits.size=3"), "digits.size does not exist"),
        (("--datasets", "digits", "--set", "digits.train_size=0"), "train_size must be >= 1, got 0"),
    ],
)
def test_wrong_request_is_refused(words: tuple[str, ...], message: str) -> None:
    result = check(*words)
    assert result.exit_code == 2
    assert message in result.output
