"""Folders of claim files: the project's own, those of installed packages, and one that a user names."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core.errors import RequestError
from bench_core.reports.claims.folders import all_claim_folders, given_claim_folder, shipped_claims

ROOT = Path(__file__).parents[4]
Announce = Callable[[str, str], Path]


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Announce:
    """Function that makes an installed package with a folder of claims, and announces a name for it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("bench_core.reports.claims.folders.checkout", lambda: tmp_path)
    shipped_claims().mkdir(parents=True)

    def make(package: str, announced: str) -> Path:
        folder = tmp_path / package / "claims"
        folder.mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
        (folder / "paper.toml").write_text('title = "Ours"\n')
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[bench.claims]\nours = {announced}\n")
        return folder

    return make


def test_the_claims_of_an_installed_package_are_found_behind_our_own(announce: Announce) -> None:
    folder = announce("bench_found_claims", "bench_found_claims.claims")
    folders = all_claim_folders()
    assert folders.found[-1] == folder
    assert folders.broken == ()
    assert [found for found in folders.found if found != folder] == [shipped_claims()]


@pytest.mark.parametrize(
    ("announced", "reason"),
    [
        ("bench_no_claims.nothing", "must be a package of Python whose folder holds NAME.toml"),
        ("bench_no_claims_at_all.claims", "No module named 'bench_no_claims_at_all'"),
        ("json.decoder", "must be a package of Python"),
    ],
)
def test_a_package_whose_claims_cannot_be_read_is_named_and_stops_no_other(
    announce: Announce, announced: str, reason: str
) -> None:
    announce("bench_no_claims", announced)
    folders = all_claim_folders()
    assert folders.found == (shipped_claims(),)
    (line,) = folders.broken
    assert line.startswith("claims 'ours' of bench-no-claims cannot be read: ")
    assert reason in line


def test_a_package_that_ends_the_program_when_it_is_imported_stops_no_other(announce: Announce) -> None:
    folder = announce("bench_exit_claims", "bench_exit_claims.claims")
    (folder.parent / "__init__.py").write_text("raise SystemExit(3)\n")
    assert all_claim_folders().broken == ("claims 'ours' of bench-exit-claims cannot be read: 3",)


def test_a_folder_that_a_user_names_must_hold_a_claim_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no such folder"):
        given_claim_folder(tmp_path / "none")
    with pytest.raises(RequestError, match="holds no claim file"):
        given_claim_folder(tmp_path)
    (tmp_path / "mine.toml").write_text("")
    assert given_claim_folder(tmp_path).found == (tmp_path,)


def test_a_checkout_reads_its_own_files_and_a_wheel_those_that_it_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.reports.claims.folders.checkout", lambda: ROOT)
    assert shipped_claims() == ROOT / "leaderboards" / "claims"
    monkeypatch.setattr("bench_core.reports.claims.folders.checkout", lambda: None)
    monkeypatch.setattr("bench_core.reports.claims.folders.shipped_files", lambda: tmp_path / "shipped")
    assert shipped_claims() == tmp_path / "shipped" / "claims"
    assert all_claim_folders([]).found == ()  # a wheel without any
    shipped_claims().mkdir(parents=True)
    assert all_claim_folders([]).found == (tmp_path / "shipped" / "claims",)


def test_the_wheel_has_the_claim_files_where_it_reads_them() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"]["leaderboards/claims"] == "bench_core/shipped/claims"
    assert "leaderboards/claims/*" in targets["sdist"]["include"]
