"""Says where the recipe of a row comes from: the method, a variant of it, a board, or options of the request."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = ("optimizer", "learning_rate", "epochs", "batch_size")  # the parameters of a recipe that lines and tables show
_ONE_PARAMETER = ("--epochs", "--batch-size")  # options whose name says which parameter they set


@dataclass(frozen=True)
class RecipeOrigin:
    """Origin of a row's recipe, in words.

    Attributes:
        recipe_from: "board digits; --epochs" or "board digits, tuned"; empty for a row that is not trained.
        shortened: What is shorter because fewer epochs were asked for: "warmup_epochs 10 -> 0.1, as 10 of 1000 epochs
            were asked for"; empty where nothing is.
    """

    recipe_from: str = ""
    shortened: str = ""


def recipe_origin_text(places: Mapping[str, Collection[str]]) -> str:
    """Say which place gives most of a recipe, then what the others give: "the method; epochs from variant nac:hashing".

    Args:
        places: Name of a place -> the parameters of the recipe that it sets; a later place wins. The first one sets
            all of `SHOWN`.
    """
    place_of = {parameter: place for place, parameters in places.items() for parameter in parameters}
    main = Counter(place_of[parameter] for parameter in SHOWN).most_common(1)[0][0]
    parts = [main]
    for place in places:
        set_here = [parameter for parameter, winner in place_of.items() if winner == place]
        if place != main and set_here:
            parts.append(place if place in _ONE_PARAMETER else f"{', '.join(set_here)} from {place}")
    return "; ".join(parts)


def shortened_text(values: Mapping[str, tuple[Any, Any]], epochs: int, usual: int) -> str:
    """Say what is shorter because fewer epochs were asked for, or "" if nothing is.

    Args:
        values: Parameter, "warmup_epochs" or "recipe.warmup_epochs" -> its value for the usual epochs, and for these.
        epochs: Epochs that were asked for.
        usual: Epochs that they replace.
    """
    if not values:
        return ""
    changes = [f"{name.removeprefix('recipe.')} {_spell(old)} -> {_spell(new)}" for name, (old, new) in values.items()]
    return f"{', '.join(changes)}, as {epochs} of {usual} epochs were asked for"


def _spell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
