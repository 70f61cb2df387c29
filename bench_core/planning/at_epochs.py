"""Cells on weights along the way: `--at epochs=10,20` measures each training after 10 and after 20 epochs.

A cell of an epoch has `"epoch"` in the document of its embeddings, and so a key of its own; its row is named
"nac @ 10 epochs". The chain stays one chain: it is trained once. Rows that train nothing stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench_core.errors import RequestError, shown
from bench_core.keys import key_of
from bench_core.planning.chains import Cell, Chain, Plan


def at_epochs(plan: Plan, epochs: Sequence[int]) -> Plan:
    """Return the plan with the cells of each training after these epochs, in place of those after its last.

    Args:
        plan: A plan.
        epochs: Epochs, counted from 1; without any the plan stays as it is.

    Raises:
        RequestError: An epoch is no whole number from 1, or a training has fewer.
    """
    if not epochs:
        return plan
    for epoch in epochs:
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
            raise RequestError(f"epochs to measure must be whole numbers from 1, got {shown(epoch)}.")
    return replace(plan, chains=tuple(_with_epochs(chain, sorted(set(epochs))) for chain in plan.chains))


def _with_epochs(chain: Chain, epochs: Sequence[int]) -> Chain:
    trained = chain.recipe.epochs
    if not trained or all(cell.skip for cell in chain.cells):
        return chain
    if beyond := [epoch for epoch in epochs if epoch > trained]:
        raise RequestError(
            f"{chain.method.name} is trained for {trained} epochs, and --at asks for epoch {beyond[0]}; ask for "
            f"{trained} at most, or train longer with --epochs {beyond[-1]}."
        )
    return replace(chain, cells=tuple(_at(cell, epoch) for epoch in epochs for cell in chain.cells))


def _at(cell: Cell, epoch: int) -> Cell:
    document: dict[str, Any] = {**cell.document, "embed": {**cell.document["embed"], "epoch": epoch}}
    name = f"{cell.names['method']} @ {epoch} epoch{'s' if epoch > 1 else ''}"
    return replace(cell, names={**cell.names, "method": name}, document=document, key=key_of(document), epoch=epoch)
