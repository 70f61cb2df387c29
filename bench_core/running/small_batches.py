"""Refuses trainings whose batches are too small for their method, before any chain runs."""

from collections.abc import Iterable
from dataclasses import replace

from bench_core.contracts import DataSpec, Objective
from bench_core.errors import RequestError
from bench_core.planning.chains import Chain
from bench_core.running.chain import build_objective
from bench_core.training.trial import step_fault

_SMALL = 8  # items; a trial of larger batches would take seconds, and no method of ours needs more
_SIZES = (2, 4, 8, 16)  # tried in this order for one that is large enough


def refuse_small_batches(chains: Iterable[Chain]) -> None:
    """Refuse trainings on batches from which their method cannot learn, such as batch norm over one item.

    Each training of small batches is tried for one step on made data. It is refused if that step fails or gives no
    gradient, and a step on a larger batch does not. What fails at every size has another cause, which the training
    will report.

    Args:
        chains: Chains that will be trained; one seed of each is tried.

    Raises:
        RequestError: Some methods cannot train so; the message names them, the batch size and one that works.
    """
    tried, refused = set(), []
    for chain in chains:
        row, size = (chain.dataset.name, chain.encoder.name, chain.method.name), _batch_size(chain)
        if row in tried or not 0 < size <= _SMALL or not chain.recipe.epochs:
            continue
        tried.add(row)
        if (fault := _fault(chain, size)) and (enough := _enough(chain, size)):
            refused.append((chain, size, enough, fault))
    if refused:
        raise RequestError(_message(refused))


def has_small_batches(chain: Chain) -> bool:
    """Return whether a chain, or one that it needs, has so small batches that a step on one is tried."""
    return any(0 < _batch_size(link) <= _SMALL for link in chain.lineage)


def _batch_size(chain: Chain) -> int:
    """Return the items of a step; a pass over less than a batch is one short batch."""
    return min(chain.recipe.batch_size, chain.data.splits.get("train", 0))


def _fault(chain: Chain, size: int) -> str | None:
    def build(data: DataSpec) -> Objective:
        return build_objective(replace(chain, data=data, init=None))

    return step_fault(build, chain.recipe, chain.data, size)


def _enough(chain: Chain, size: int) -> int | None:
    """Return a batch size above `size` from which the chain's method learns; None if no tried one is large enough."""
    return next((larger for larger in _SIZES if larger > size and _fault(chain, larger) is None), None)


def _message(refused: list[tuple[Chain, int, int, str]]) -> str:
    """Name all refused methods, the error of the first, and what to type."""
    chain, size, _, fault = refused[0]
    names = ", ".join(dict.fromkeys(chain.method.name for chain, *_ in refused))
    items = "1 item" if size == 1 else f"{size} items"
    enough = max(enough for _, _, enough, _ in refused)
    if chain.recipe.batch_size > size:
        advice = f"the train split of {chain.dataset.name} has no more; train on {enough} items or more"
    else:
        advice = f"type --batch-size {enough} or more"
    return f"{names} cannot train on batches of {items} ({chain.method.name}: {fault}); {advice}, or leave out {names}."
