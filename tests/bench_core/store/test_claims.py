import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_core.store import claim_holders, claims
from bench_core.store.claim_holders import Holder, parse_holder
from bench_core.store.claims import Claim, Claims, LostClaim

KEY = "ab" * 32
BEAT = 0.05
# Claims a chain, says so, and waits. sys.argv: store, key, seconds between two beats.
HOLDS = """
import sys, time
from pathlib import Path
from bench_core.store.claims import Claims
claim = Claims(Path(sys.argv[1]), float(sys.argv[3])).try_claim(sys.argv[2])
print("claimed" if claim else "taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Claims]:
    with Claims(tmp_path, BEAT, 0.4, "bench run --one") as claims:
        yield claims


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Claims]:
    """Claims of another process, as far as files can tell."""
    with Claims(tmp_path, BEAT, 0.4) as claims:
        yield claims


def claimed(claims: Claims, key: str = KEY) -> Claim:
    claim = claims.try_claim(key)
    assert claim is not None
    return claim


def asleep(claim: Claim) -> Claim:
    """Stop the beats of a claim, as if its process slept."""
    claim._ended.set()
    time.sleep(0.02)
    claim._ended.clear()
    return claim


def taken_over(claims: Claims, key: str = KEY) -> Claim:
    """Look at a claim until it is taken over."""
    deadline = time.monotonic() + 20
    while (claim := claims.try_claim(key)) is None:
        assert time.monotonic() < deadline
        time.sleep(BEAT / 2)
    return claim


def files(claims: Claims) -> list[str]:
    return sorted(path.name for path in claims.folder.iterdir())


def start_holder(store: Path, key: str = KEY) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDS, str(store), key, str(BEAT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_chain_has_one_claim_and_is_free_after_it_and_nothing_is_left(one: Claims, other: Claims) -> None:
    with claimed(one) as claim:
        assert other.try_claim(KEY) is None
        assert one.try_claim(KEY) is None
        assert not other.free(KEY)
        with claimed(other, "cd" * 32):
            assert other.holders().keys() == {KEY, "cd" * 32}
        assert not claim.is_lost()
    assert files(one) == []
    assert other.free(KEY)
    claimed(other).release()
    assert files(one) == []


def test_a_claim_names_its_process(one: Claims, other: Claims) -> None:
    assert other.holders() == {}
    with claimed(one):
        holder = other.holders()[KEY]
        assert (holder.pid, holder.command, holder.beat_s) == (os.getpid(), "bench run --one", BEAT)
        assert holder.words == f"process {os.getpid()} on {holder.host}"
        assert not holder.is_dead()
        assert holder.since.endswith("+00:00")


def test_of_many_that_claim_at_once_one_succeeds(tmp_path: Path) -> None:
    everybody = [Claims(tmp_path, BEAT, 0.4) for _ in range(8)]
    start = threading.Barrier(8)
    got: list[Claim | None] = []

    def claim(claims: Claims) -> None:
        start.wait()
        got.append(claims.try_claim(KEY))

    for _ in range(10):
        threads = [threading.Thread(target=claim, args=(claims,)) for claims in everybody]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (won,) = filter(None, got)
        assert won.verify()
        won.release()
        got.clear()
    assert files(everybody[0]) == []


def test_a_beat_keeps_a_claim_and_the_end_of_beats_loses_it_by_the_clock_of_who_watches(
    one: Claims, other: Claims
) -> None:
    claim = claimed(one)
    until = time.monotonic() + 0.8  # twice as long as it takes to be stale
    while time.monotonic() < until:
        assert other.try_claim(KEY) is None
        time.sleep(0.02)
    asleep(claim)
    began = time.monotonic()
    new = taken_over(other)
    assert time.monotonic() - began > 0.3
    assert claim.is_lost()
    with pytest.raises(LostClaim):
        claim.check()
    claim.release()  # deletes nothing: the claim is another's
    assert new.verify()
    assert one.try_claim(KEY) is None
    assert len(files(one)) == 2
    new.release()
    assert files(one) == []


def test_dates_of_a_wrong_clock_mean_nothing(one: Claims, other: Claims) -> None:
    claim = claimed(one)
    (path,) = one.folder.iterdir()
    os.utime(path, (0, 0))
    assert other.try_claim(KEY) is None
    os.utime(path, (4e9, 4e9))
    assert other.try_claim(KEY) is None
    claim.release()


def test_a_look_after_a_long_sleep_counts_for_one_beat(
    one: Claims, other: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = asleep(claimed(one))
    assert other.try_claim(KEY) is None
    now = claims.clock()
    monkeypatch.setattr(claims, "clock", lambda: now + 1000)
    assert other.try_claim(KEY) is None
    monkeypatch.undo()
    claim.release()


def test_patience_is_three_beats_of_the_other_at_least(tmp_path: Path) -> None:
    slow, hasty = Claims(tmp_path, 30.0, 300.0), Claims(tmp_path, 0.01, 0.03)
    with claimed(slow):
        for _ in range(20):
            assert hasty.try_claim(KEY) is None
            time.sleep(0.01)


def test_of_many_that_take_over_one_succeeds_and_earlier_ones_find_that_they_are_late(tmp_path: Path) -> None:
    dead = asleep(claimed(Claims(tmp_path, BEAT, 0.1)))
    everybody = [Claims(tmp_path, BEAT, 0.1) for _ in range(4)]
    lock, got = threading.Lock(), list[Claim]()

    def take_over(claims: Claims) -> None:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            if claim := claims.try_claim(KEY):
                with lock:
                    got.append(claim)
            time.sleep(0.01)

    threads = [threading.Thread(target=take_over, args=(claims,)) for claims in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = got
    assert won.verify()
    assert dead.is_lost()
    won.release()
    assert files(everybody[0]) == []


def test_a_process_that_slept_before_it_took_over_takes_no_newer_claim(one: Claims, other: Claims) -> None:
    """The race that breaks locks whose taking over is "delete, then create"."""
    asleep(claimed(one))
    path, holder = other.row(KEY)[-1]  # what a process saw that now falls asleep
    third = Claims(one.folder.parent, BEAT, 0.1)
    taken_over(third).release()
    newer = claimed(third)
    late = other._make(KEY, other.folder / f"{KEY}.after-{holder.token}.json")
    assert late is None
    assert newer.verify()
    newer.release()
    assert files(one) == []
    assert not path.exists()


def test_claim_of_a_killed_process_is_taken_over_at_once_and_of_a_stopped_one_later(tmp_path: Path) -> None:
    patient = Claims(tmp_path, BEAT, 1000.0)
    process = start_holder(tmp_path)
    try:
        assert patient.try_claim(KEY) is None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(3 * BEAT)
        assert patient.try_claim(KEY) is None
        process.kill()
        deadline = time.monotonic() + 5
        while (claim := patient.try_claim(KEY)) is None:  # it is a zombie: this test has not waited for it
            assert time.monotonic() < deadline
        claim.release()
        assert files(patient) == []
    finally:
        end(process)


def test_process_of_another_boot_or_container_is_not_thought_to_be_dead() -> None:
    here = claim_holders.this_machine()
    gone = claim_holders.process_start(2**22 + 1)
    assert gone != claim_holders.process_start(os.getpid())
    holder = Holder("t", "here", 2**22 + 1, here, "123")
    assert holder.is_dead() == bool(here)
    assert not Holder("t", "here", 2**22 + 1, "another boot", "123").is_dead()
    assert not Holder("t", "here", 2**22 + 1, "", "123").is_dead()
    assert Holder("t", "here", os.getpid(), here, "another start").is_dead() == bool(here)
    assert not Holder("t", "here", os.getpid(), here, claim_holders.process_start(os.getpid())).is_dead()


def test_process_that_proc_hides_is_not_thought_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another user, where /proc is mounted with hidepid."""
    holder = Holder("t", "here", os.getpid(), claim_holders.this_machine(), "123")
    monkeypatch.setattr(Path, "read_text", lambda path, **options: (_ for _ in ()).throw(FileNotFoundError(path)))
    assert not holder.is_dead()


def test_file_that_was_deleted_on_the_server_while_it_was_read_is_read_again(
    one: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(one)
    faults, fstat = [errno.ESTALE], os.fstat

    def fails_once(descriptor: int) -> os.stat_result:
        if faults:
            raise OSError(faults.pop(), "stale")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", fails_once)
    assert claim.verify()
    faults += [errno.ESTALE, errno.ESTALE]
    with pytest.raises(OSError, match="stale"):
        claim.verify()
    assert not claim._is_lost
    claim.release()


def test_a_process_that_wakes_up_reads_before_it_says_that_the_claim_is_its_own(tmp_path: Path) -> None:
    one, other = Claims(tmp_path, BEAT, 0.2), Claims(tmp_path, BEAT, 0.2)
    claim = claimed(one)
    claim._ended.set()  # its thread sleeps with it
    time.sleep(0.02)
    claim._ended.clear()
    new = taken_over(other)
    assert claim.is_lost()
    new.release()
    assert claim.is_lost()


def test_is_lost_reads_no_file_more_often_than_every_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Claims(tmp_path, 30.0)
    with claimed(slow) as claim:
        reads: list[str] = []
        row = slow.row

        def counted(key: str) -> list[tuple[Path, Holder]]:
            reads.append(key)
            return row(key)

        monkeypatch.setattr(slow, "row", counted)
        for _ in range(1000):
            assert not claim.is_lost()
        assert reads == []


def test_new_content_shows_a_taken_over_claim_where_new_names_are_seen_late(one: Claims, other: Claims) -> None:
    """A network's file system may hide a new name for a minute from a process that looked for it before."""
    claim = asleep(claimed(one))
    new = taken_over(other)
    hidden = one.folder / f"{KEY}.after-{claim.token}.json"
    late = hidden.rename(hidden.with_suffix(".late"))
    assert claim.is_lost()
    late.rename(hidden)
    assert new.verify()
    new.release()


def test_a_damaged_claim_names_nobody_and_is_taken_over_like_any_other(one: Claims, other: Claims) -> None:
    claim = asleep(claimed(one))
    (path,) = one.folder.iterdir()
    path.write_bytes(b'{"token": "../../x"')
    assert not (holder := other.holders()[KEY]).host
    assert holder.words == "a process that its claim does not name"
    time.sleep(2 * BEAT)
    assert claim.is_lost()
    taken_over(other).release()
    assert files(one) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"token": 1}', json.dumps({"token": "a/b", "pid": 1}).encode()]
)
def test_content_that_is_no_claim_gives_a_token_that_is_a_file_name(content: bytes) -> None:
    holder = parse_holder(content, 5)
    assert holder.token.isalnum()
    assert (holder.host, holder.beat) == ("", 5)
    assert not holder.is_dead()


def test_claim_whose_files_could_not_be_deleted_does_not_hinder_its_own_process(
    one: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(one)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", lambda path, **options: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        claim.release()
    assert len(files(one)) == 1
    claimed(one).release()
    assert files(one) == []


def test_all_claims_end_with_the_block_of_their_process(tmp_path: Path) -> None:
    with Claims(tmp_path, BEAT) as claims:
        claimed(claims)
        claimed(claims, "cd" * 32)
    assert files(claims) == []


def test_store_that_cannot_be_written_is_an_error_and_leaves_no_claim(tmp_path: Path) -> None:
    (tmp_path / "claims").write_text("a file in its place")
    claims = Claims(tmp_path, BEAT)
    with pytest.raises(OSError, match="claims"):
        claims.try_claim(KEY)
    assert not claims._held
