"""The training of one chain without its tasks, which run elsewhere or belong to nobody."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from bench_core.devices import exact_float32
from bench_core.planning.chains import Chain
from bench_core.process_settings import restored
from bench_core.running.chain import Check, load_splits, pretrain_and_embed, train_if_needed
from bench_core.running.failures import FAILURES, attempt_of
from bench_core.running.progress import Progress
from bench_core.running.provenance import command_line, provenance
from bench_core.running.setting import RunSetting
from bench_core.running.small_batches import refuse_small_batches
from bench_core.running.threads import running_threads
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.store.slurm_jobs import note_failed_training

_POLL_S = 1.0  # between two looks at the claim of another process


def train_only(chain: Chain, store: Store, setting: RunSetting, progress: Progress, *, embed: bool) -> bool:
    """Train a chain whose sources are trained, and embed its data for tasks that run elsewhere.

    Args:
        chain: The chain.
        store: Store that gets weights and embeddings. A failure is noted there, see `failed_training`.
        setting: Device, checkpoints, workers.
        progress: Shows the epochs.
        embed: Whether to embed; a chain that is only a source of others is not.

    Returns:
        True if it is trained.
    """
    refuse_small_batches([chain])
    began = time.perf_counter()
    try:
        splits = load_splits(chain, setting.data_cache)
        with (
            _claimed(chain, store, setting) as check,
            running_threads(chain, setting.threads),
            exact_float32(setting.torch_device),
            restored(),
        ):
            if embed:
                for epoch in dict.fromkeys(cell.epoch for cell in chain.cells):
                    pretrain_and_embed(chain, store, setting, splits, progress, epoch, check)
            else:
                train_if_needed(chain, store, setting, splits["train"], progress, check)
    except FAILURES as error:
        traceback.print_exc()
        where = provenance(setting.torch_device, setting.command)
        failed = attempt_of(error, chain, chain.cells[0], time.perf_counter() - began, where)
        note_failed_training(store, chain.key, failed["kind"], failed["error"])
        return False
    return True


@contextmanager
def _claimed(chain: Chain, store: Store, setting: RunSetting) -> Iterator[Check]:
    """Wait until no other process works on the chain, and claim it; yield what raises where the claim is lost."""
    store.create()
    command = setting.command or command_line()
    with Claims(store.path, setting.claim_beat, setting.claim_stale, command) as claims:
        while (claim := claims.try_claim(chain.key)) is None:
            setting.stop.raise_if_requested()
            time.sleep(min(_POLL_S, setting.claim_beat))
        with claim:
            yield claim.check
