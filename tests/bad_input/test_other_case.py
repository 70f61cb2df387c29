"""Names in another case than they are written are refused, and the right one is suggested, wherever a name is typed."""

from collections.abc import Callable

import pytest

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        ("RUN", "run"), ("Publsh", "publish"), ("--HELP", "--help"), ("run --METHODS nac", "--methods"),
        ("table --Stores x", "--store"),
        ("show NAC", "nac"), ("show DIGITS", "digits"), ("show nac:HASHING", "hashing"),
        ("check NAC", "nac"), ("-p no:NAC list", "nac"), ("-p no:Bench-Cor list", "bench-core"),
        ("run --methods NAC --dry-run", "nac"), ("run --methods NAC:hashing --dry-run", "nac"),
        ("run --methods nac:HASHING --dry-run", "hashing"), ("run --methods nac --tasks KNN --dry-run", "knn"),
        ("run --methods nac --datasets Digits --dry-run", "digits"), ("run --board MNIST --dry-run", "mnist"),
        ("run --methods nac --set NAC.flip=1 --dry-run", "nac"), ("run --methods nac --set nac.FLIP=1", "flip"),
        ("run --methods nac --set nac.recipe.EPOCHS=1", "epochs"), ("run --methods nac --sweep nac.FLIP=0,1", "flip"),
        ("run --methods nac --rerun NAC --quiet", "nac"), ("table --board DIGITS", "digits"),
        ("table --columns knn:TOP1", "knn:top1"),
    ],
)  # fmt: skip
def test_the_name_in_its_own_case_is_suggested(refused: Refused, words: str, suggested: str) -> None:
    assert f"did you mean {suggested!r}?" in refused(*words.split())


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ("run --methods nac --precision FP32", "'auto', 'fp32', 'bf16'"), ("list METHODS", "'methods', 'tasks'"),
        ("completion BASH", "'bash', 'zsh', 'fish'"), ("run --methods nac --device CPU", "auto, cpu, cuda"),
        ("run --methods nac --set nac.recipe.optimizer=ADAM", "'sgd' | 'adam'"),
    ],
)  # fmt: skip
def test_where_there_are_few_choices_all_are_named(refused: Refused, words: str, choices: str) -> None:
    assert choices in refused(*words.split())
