"""Other ranks than 0 of chains that several processes train together: they do what rank 0 calls them to.

A follower makes the same plan as rank 0, from the same command, and reads the same files. It writes nothing.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch._C._distributed_c10d import Store as RankStore

from bench_core.contracts import Dataset, Split
from bench_core.data import open_split
from bench_core.devices import exact_float32, place_on_device
from bench_core.errors import one_line
from bench_core.planning.chains import Chain, Plan
from bench_core.planning.initial_weights import InitialWeights
from bench_core.process_settings import restored
from bench_core.running.chain import build_for_training, load_splits, load_trained
from bench_core.running.rank_leader import next_meeting, report_failure
from bench_core.running.setting import RunSetting
from bench_core.running.threads import running_threads
from bench_core.store import Store
from bench_core.training.distributed import shared_rows
from bench_core.training.embed import embed_splits
from bench_core.training.pretrain import pretrain
from bench_core.training.rank_autosave import LeaderStoppedError
from bench_core.training.rank_group import RankGroup


def follow(plan: Plan, store: RankStore, rank: int, size: int, setting: RunSetting) -> None:
    """Work with rank 0 until it has no more work, or is gone.

    Args:
        plan: The whole plan; rank 0 says which of its chains are worked on.
        store: Where the ranks find one another.
        rank: Number of this rank, from 1.
        size: Number of ranks.
        setting: Settings of the run.
    """
    follower = _Follower(plan, setting)
    last = 0
    with setting.stop.deferred(), suppress(torch.distributed.DistNetworkError):  # rank 0 is gone
        while meeting := next_meeting(store, rank, size, setting.torch_device, last):
            last, group = meeting
            try:
                while work := group.hear():
                    follower.do(work, group)
                return
            except LeaderStoppedError:
                continue
            except Exception as error:
                report_failure(store, last, rank, one_line(f"{type(error).__name__}: {error}"))
            finally:
                with suppress(RuntimeError):
                    group.close()


class _Follower:
    """Chains of a plan, and the splits of the last dataset, kept from one piece of work to the next."""

    def __init__(self, plan: Plan, setting: RunSetting) -> None:
        self.setting = setting
        self.chains = {link.key: link for chain in plan.chains for link in (chain, *chain.lineage)}
        self.loader: Dataset | None = None
        self.splits: Mapping[str, Split] = {}

    def do(self, work: Mapping[str, Any], group: RankGroup) -> None:
        """Do what rank 0 tells: train a chain, or embed its data."""
        chain = self.chains[work["chain"]]
        if self.loader is not chain.loader:
            self.splits = load_splits(chain, self.setting.data_cache)
            self.loader = chain.loader
        does: Callable[[], None] = (
            partial(self._train, chain, Store(Path(work["store"])), group)
            if work["does"] == "train"
            else partial(self._embed, chain, Store(Path(work["store"])), Path(work["weights"]), work["sha256"], group)
        )
        with exact_float32(self.setting.torch_device), restored(), running_threads(chain, self.setting.threads):
            does()

    def _train(self, chain: Chain, store: Store, group: RankGroup) -> None:
        device = self.setting.torch_device
        pretrain(
            place_on_device(build_for_training(chain, store), device),
            open_split(self.splits["train"], device, workers=self.setting.workers),
            chain.recipe,
            seed=chain.seed,
            device=device,
            precision=chain.precision,
            log=Path(),
            ranks=group,
        )

    def _embed(self, chain: Chain, store: Store, weights: Path, sha256: str, group: RankGroup) -> None:
        device = self.setting.torch_device
        method = load_trained(chain, store, InitialWeights(weights, sha256), device)
        splits = {name: self.splits[name] for name in chain.data.splits}
        with shared_rows(method, group):
            for _, pieces in embed_splits(method, splits, device, self.setting.workers):
                for _ in pieces:
                    pass
