"""Lines that say how the rows of a request are trained: optimiser, rate, epochs, batch, and where these come from."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench_core.planning.chains import Plan  # loads torch, which tables do without


def recipe_lines(plan: "Plan") -> Iterator[str]:
    """Yield what `bench run` begins with: a line for each row, and one more where a part of it is shortened.

    Rows that others start from have a line, too: they are trained first.
    """
    trained = {chain.method.name: chain for last in plan.chains for chain in last.lineage}
    for name, chain in trained.items():
        recipe_from = f" ({chain.origin.recipe_from})" if chain.origin.recipe_from else ""
        yield f"{name}: {recipe_text(vars(chain.recipe))}{recipe_from}"
        if chain.origin.shortened:
            yield f"{name}: {chain.origin.shortened}"


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """Return a recipe in a few words: "adamw, rate 0.003, 400 epochs, batch 256", or "not trained".

    Args:
        recipe: Parameter of the recipe -> value; a parameter may be missing, as in records of older code.
    """
    epochs = recipe.get("epochs")
    if epochs == 0:
        return "not trained"
    rate = recipe.get("learning_rate")
    parts = {
        "{}": recipe.get("optimizer"),
        "rate {}": None if rate is None else f"{rate:g}",
        "1 epoch" if epochs == 1 else "{} epochs": epochs,
        "batch {}": recipe.get("batch_size"),
    }
    return ", ".join(text.format(value) for text, value in parts.items() if value is not None) or "not on record"
