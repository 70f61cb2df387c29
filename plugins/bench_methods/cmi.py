"""CMI: a latent with a subspace for each attribute, which are independent once an attribute is known.

Attributes that occur together in the training data, such as digit and colour, have mutual information. Subspaces that
hold them have at least as much, so a method that removes all of it loses attributes. CMI removes only what is left
within one value of an attribute.

Paper: Funke, Vicol, Wang, Kümmerer, Zemel, Bethge, CoLLAs 2022, https://arxiv.org/abs/2112.14754
Code:  https://github.com/asteroidhouse/conditional-disentanglement/blob/a5b9666/train_correlated.py
Note:  Any number of attributes; the code has two of two values each. The code adds the critics' losses over the values
       of an attribute, here they are a mean over items, as in the conditional information; the code's sum of two
       values counts double. The code's cross-entropy is a mean over attributes, here it is a sum. So the code's weight
       of 1 is about 4 here. Shuffled latents come from another item, never from the item itself, and an item that is
       alone with its value is left out. The classifiers take one step for each of the encoder's, in the same step.
       `cmi:mi` has a critic for each subspace; the code has one, which is the same for two attributes.

Shapes: N items, D features, K attributes, S latents of a subspace, P = K S latents, V values of an attribute.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    Loss,
    Objective,
    ParameterGroup,
    Player,
    Recipe,
    Variant,
    hookimpl,
    log,
    param,
)
from bench_core.nn.heads import mlp

UNKNOWN = -1  # an attribute's value where it may not be read
CEILING = 2 * math.log(2)  # largest value of a critic's estimate: it tells all items from all shuffled ones


@dataclass(frozen=True, kw_only=True)
class CMIConfig(Config):
    """Parameters of CMI; defaults are those of the code on pairs of digits."""

    attributes: tuple[str, ...] = param(
        (), "names of the factors that get a subspace; () takes the first two of the data", "ours: the paper has two"
    )
    subspace_dim: int = param(5, "length of each subspace, in coordinates", "code: z_dim of 10 for two", ge=1)
    weight: float = param(
        4.0,
        "weight of the information between subspaces; 0 leaves classification",
        "code: 1, in its units",
        ge=0,
        tune=log(0.1, 30.0),
    )
    given: Literal["attribute", "nothing"] = param(
        "attribute", "what is known when subspaces must be independent: a subspace's attribute, or nothing", "paper"
    )
    labelled: float = param(
        1.0, "part of the training items whose value is read, drawn for each attribute by itself", "paper", gt=0, le=1
    )
    head_learning_rate: float = param(
        1e-4,
        "peak learning rate of classifiers and critics; the recipe's is the encoder's",
        "code: cls_lr, D_lr",
        ge=0,
        tune=log(1e-5, 1e-2),
    )
    units: int = param(50, "units of the two hidden layers of a critic", "code: nhid", ge=1)

    def __post_init__(self) -> None:
        """Check ranges, and that the attributes are two or more, each named once."""
        super().__post_init__()
        if self.attributes and (len(self.attributes) < 2 or len(set(self.attributes)) < len(self.attributes)):
            raise ValueError(f"attributes must be two or more different names, got {self.attributes}")


class CMIViews(NamedTuple):
    """Items of one step, what may be read of their attributes, and with which items they are shuffled.

    Attributes:
        inputs: The items, unchanged.
        attributes: (N, K) values from 0; UNKNOWN where a value may not be read.
        partners: (K, N) positions in the batch: whose other subspaces item n gets beside its own subspace k. An item
            that is its own partner is left out.
    """

    inputs: Any
    attributes: Tensor
    partners: Tensor


class CMI(Objective):
    """Subspaces for correlated attributes (Funke 2022).

    Trains the encoder, a linear map to one subspace for each attribute, and a linear classifier of each subspace,
    against critics that find what one subspace tells of the others when its attribute is known. Reads the attributes,
    all or some. Tasks read `features` and `latent`, the subspaces side by side.
    """

    Config = CMIConfig
    uses_factors = True
    recipe = Recipe(optimizer="adam", learning_rate=1e-5, schedule="constant", epochs=400, batch_size=100)
    recipe_source = "code, README: pairs of digits"
    variants: ClassVar[Mapping[str, Variant]] = {
        "plain": Variant({"weight": 0.0}, "paper: Base", "classification alone: no critics"),
        "mi": Variant({"given": "nothing"}, "paper: Base + MI", "subspaces made independent whatever the attributes"),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: CMIConfig) -> None:
        """Add the subspaces, classifiers and critics, and draw the attributes that are read."""
        super().__init__(encoder, data, config)
        self.config, factors = config, data.factors or {}
        self.names = attribute_names(data, config)
        self.columns = [list(factors).index(name) for name in self.names]
        self.values = [factors[name] for name in self.names]
        S, P = config.subspace_dim, config.subspace_dim * len(self.names)
        self.to_latent = nn.Linear(encoder.dim, P)
        self.classifiers = nn.ModuleList(nn.Linear(S, values) for values in self.values)
        known = self.values if config.given == "attribute" else [0] * len(self.values)
        self.critics = nn.ModuleList(
            mlp(P + values, config.units, config.units, 1, norm=False) for values in (known if config.weight else [])
        )
        self.is_read: Tensor
        self.register_buffer("is_read", drawn_attributes(data.num_train, len(self.names), config.labelled))

    def players(self) -> list[Player]:
        """Return the encoder with its heads, and `critic`; the encoder alone has the recipe's learning rate."""
        rate = {"learning_rate": self.config.head_learning_rate}
        heads = list(self.classifiers.parameters())
        main = [*self.encoder.parameters(), *self.to_latent.parameters(), *heads]
        players = [Player("main", main, groups=[ParameterGroup(heads, rate)])]
        return [*players, Player("critic", list(self.critics.parameters()), recipe=rate)] if self.critics else players

    def make_views(self, batch: Batch, rng: torch.Generator) -> CMIViews:
        """Return the items unchanged, with the attributes that may be read, and draw the partners of each subspace."""
        assert batch.factors is not None, "uses_factors asks for them"
        attributes = torch.stack([batch.factors[:, column] for column in self.columns], 1)
        attributes = attributes.where(self.is_read[batch.index], torch.full_like(attributes, UNKNOWN))
        groups = attributes if self.config.given == "attribute" else torch.zeros_like(attributes)
        return CMIViews(batch.inputs, attributes, torch.stack([partners(group, rng) for group in groups.unbind(1)]))

    def forward(self, views: CMIViews, player: str = "main") -> Loss:
        """Return the loss of the encoder with its classifiers, or that of the critics."""
        with torch.set_grad_enabled(player == "main" and torch.is_grad_enabled()):
            latent = self.to_latent(self.encoder(views.inputs)).float()
        found, mistaken = latent.new_zeros(()), latent.new_zeros(())
        for k in range(len(self.critics)):
            right, wrong = self._found(k, latent, views)
            found, mistaken = found + right, mistaken + wrong
        if player == "critic":
            return Loss(-found, {"information": found}, ceilings={"information": CEILING * len(self.critics)})
        parts = {"information": found} if self.critics else {}
        classification = latent.new_zeros(())
        for k, classifier in enumerate(self.classifiers):
            logits, values = classifier(latent[:, self._subspace(k)]), views.attributes[:, k]
            is_read = values != UNKNOWN
            errors = F.cross_entropy(logits, values, ignore_index=UNKNOWN, reduction="none")
            classification = classification + mean_over(errors, is_read)
            parts[f"accuracy_{self.names[k]}"] = mean_over((logits.argmax(1) == values).float(), is_read)
        parts["cross_entropy"] = classification
        # As in the code, the encoder wants items of both kinds taken for the other kind. The gradient of `found` itself
        # would vanish where a critic is sure.
        return Loss(classification - self.config.weight * mistaken, parts)

    def _found(self, k: int, latent: Tensor, views: CMIViews) -> tuple[Tensor, Tensor]:
        """Return what critic k finds, and what it would find if it took latents for shuffled ones and the reverse.

        Args:
            k: Number of the attribute.
            latent: (N, P).
            views: The step's items; those that are their own partners are left out.
        """
        partner = views.partners[k]
        condition = latent[:, :0]
        if self.config.given == "attribute":
            condition = F.one_hot(views.attributes[:, k].clamp(min=0), self.values[k]).to(latent)
        shuffled = exchanged(latent, partner, self._subspace(k))
        joint, product = (self.critics[k](torch.cat([rows, condition], 1)).squeeze(1) for rows in (latent, shuffled))
        is_kept = partner != torch.arange(len(partner), device=partner.device)
        return separation(joint, product, is_kept), separation(product, joint, is_kept)

    def _subspace(self, k: int) -> slice:
        return slice(k * self.config.subspace_dim, (k + 1) * self.config.subspace_dim)

    def subspaces(self) -> Mapping[str, slice]:
        """Return the columns of `latent` that belong to each attribute."""
        return {name: self._subspace(k) for k, name in enumerate(self.names)}

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Return `features` (N, D) and `latent` (N, P), the subspaces side by side."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.to_latent(features)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: CMIConfig) -> str | None:
        """Return a reason unless the data have the attributes, two or more, and tested items are not those of train."""
        factors = data.factors or {}
        if len(factors) < 2:
            return "needs two known factors or more"
        if unknown := [name for name in config.attributes if name not in factors]:
            return f"has no factor {unknown[0]!r}; there are: {', '.join(factors)}; set cmi.attributes"
        if data.transductive and "test" not in data.splits:
            return "learns from factors, so it needs a test split; a fold of the data has one"
        return None


def attribute_names(data: DataSpec, config: CMIConfig) -> Sequence[str]:
    """Return the names of the attributes that get a subspace: those of the config, else the data's first two."""
    return config.attributes or tuple(data.factors or {})[:2]


def drawn_attributes(items: int, attributes: int, part: float) -> Tensor:
    """Draw the training items whose value is read, for each attribute by itself: (items, attributes) bool.

    By position, so it needs no labels, and every seed and epoch has the same ones.
    """
    is_read = torch.zeros(items, attributes, dtype=torch.bool)
    for k in range(attributes):
        order = np.random.RandomState(k).permutation(items)
        is_read[torch.from_numpy(order[: math.ceil(part * items)]), k] = True
    return is_read


def partners(values: Tensor, rng: torch.Generator) -> Tensor:
    """Draw for each item another item that has the same value; each is the partner of one item.

        values      0  1  0  1  0  2  -1
        partners    2  3  4  1  0  5   6      for one of two orders of the three items of value 0

    Args:
        values: Values (N,) int64; UNKNOWN where it is not known.
        rng: Generator on the device of the values.

    Returns:
        Positions (N,). An item whose value no other has, or whose value is not known, is its own partner.
    """
    items = torch.arange(len(values), device=values.device)
    order = torch.randperm(len(values), generator=rng, device=values.device)
    order = order[values[order].argsort(stable=True)]  # groups of equal values, in random order within
    grouped = values[order]
    is_last = torch.ones_like(grouped, dtype=torch.bool)
    is_last[:-1] = grouped[1:] != grouped[:-1]
    first = torch.searchsorted(grouped, grouped)  # the place at which the item's group begins
    following = torch.where(is_last, first, items + 1)
    partner = torch.empty_like(items)
    partner[order] = order[following]
    return torch.where(values == UNKNOWN, items, partner)


def exchanged(latent: Tensor, partner: Tensor, subspace: slice) -> Tensor:
    """Return latents (N, P) with one subspace of each item, and all others of its partner.

    Args:
        latent: (N, P).
        partner: (N,) position of the partner.
        subspace: Columns that the item keeps.
    """
    shuffled = latent[partner]
    shuffled[:, subspace] = latent[:, subspace]
    return shuffled


def separation(joint: Tensor, shuffled: Tensor, is_kept: Tensor) -> Tensor:
    """Return the Jensen-Shannon estimate of information, as `bench_core.nn.mutual_information.jensen_shannon`, of some.

    Args:
        joint: Scores (N,) of items.
        shuffled: Scores (N,) of the same items with other subspaces of their partners.
        is_kept: (N,) bool, the items that are read; a mask, because a choice of rows would wait for the device.

    Returns:
        () at most 2 log 2; 0 where all scores are 0, or where nothing is read.
    """
    return mean_over(F.logsigmoid(joint) - F.softplus(shuffled) + CEILING, is_kept)


def mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean () of values (N,) over the chosen items (N,) bool; 0 where none is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"cmi": CMI}
