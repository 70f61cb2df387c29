"""Networks that were trained elsewhere: what of their weights is in a key, and which seeds they are.

    bench run --methods frozen --encoders timm --set timm.model=resnet18.a1_in1k
    bench run --methods frozen --encoders timm --set 'timm.weights=run-{seed}.pt' --seeds 0-4

One file is one network, whatever the seeds of the request are: it is measured once, at the first of them. A text that
holds `{seed}` names a file for each seed, so that several trainings elsewhere are the seeds of one row.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench_core.contracts import OutsideWeights
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.initial_weights import InitialWeights

SEED = "{seed}"  # in a text parameter, the seed of the chain


@dataclass(frozen=True)
class Outside:
    """Weights from elsewhere that a chain's encoder has before anything is trained.

    Attributes:
        weights: Name, digest and origin.
        by_seed: True if each seed of the row has weights of its own.
    """

    weights: OutsideWeights
    by_seed: bool

    def in_key(self) -> dict[str, Any]:
        """Return what of the weights is in the key of a chain."""
        return weights_in_key(self.weights.digest, self.by_seed)

    def facts(self, *, trained: bool) -> dict[str, Any]:
        """Return what a record says of the weights; only an untrained row can be one network."""
        return {**dataclasses.asdict(self.weights), "one_network": not trained and not self.by_seed}


def weights_in_key(digest: str, by_seed: bool) -> dict[str, Any]:
    """Return a digest as keys hold it; `by_seed` says that other seeds of the row have other digests."""
    return {"sha256": digest, **({"by_seed": True} if by_seed else {})}


def has_seed(config: Any) -> bool:
    """Return whether a text parameter of a Config holds `{seed}`."""
    return any(isinstance(value, str) and SEED in value for value in vars(config).values())


def at_seed(component: ConfiguredComponent, seed: int) -> ConfiguredComponent:
    """Return a component in whose text parameters the seed stands for `{seed}`."""
    if not has_seed(component.config):
        return component
    values: Mapping[str, Any] = vars(component.config)
    filled = {name: text.replace(SEED, str(seed)) for name, text in values.items() if isinstance(text, str)}
    return replace(component, config=replace(component.config, **filled))


def name_of_all_seeds(name: str, pattern: Any, filled: Any) -> str:
    """Return a network's name with `{seed}` in place of the seed: "resnet18:run-0" becomes "resnet18:run-{seed}".

    Args:
        name: The name at one seed, which may hold the name of a file.
        pattern: The Config, with `{seed}` in text parameters.
        filled: The Config at that seed.
    """
    for parameter, text in vars(pattern).items():
        if isinstance(text, str) and SEED in text:
            path, path_at_seed = Path(text), Path(getattr(filled, parameter))
            name = name.replace(path_at_seed.name, path.name).replace(path_at_seed.stem, path.stem)
    return name


def outside_of_init(init: InitialWeights, text: str) -> Outside:
    """Return the weights that `NAME.init` names as weights from elsewhere.

    Args:
        init: The weights of one seed.
        text: The value of `init`, with `{seed}` if it has one: a file, or the folder of a chain.
    """
    name = init.label if "chain" in init.document else Path(text).name
    return Outside(OutsideWeights(name=name, digest=init.digest, source=_shown(init.path)), init.by_seed)


def _shown(path: Path) -> str:
    """Return a file's name without its folder, which says something about a machine; of a chain also its key."""
    return f"{path.parent.name}/{path.name}" if path.name == "weights.safetensors" else path.name
