"""The contract with plugin authors: four interfaces, and the values that pass between them and the harness.

dataset.py       Dataset: named splits of items, and the values that describe and hold them
encoder.py       Encoder: the network under study
objective.py     Objective: a method, and the values that pass between it and the training loop
recipe.py        Recipe: optimiser, rate and length of a training; Variant: a named set of parameters
players.py       Player, Loss and Stage: who moves which parameters, and when
example.py       Example: data on which a plugin asks to be checked
keywords.py      what a plugin's function gets only if it names it
evaluator.py     Evaluator: a task, what it may read of a trained method, and the scores it returns
capabilities.py  protocols for what only some methods can do: generate images, assign clusters, ...

A plugin's class derives directly from one of the four interfaces, and nothing derives from it. Each class has:

- `Config`: a frozen, keyword-only dataclass with all its parameters; defaults are written nowhere else.
- `revision`: a whole number, raised whenever the numbers that the class leads to may change. Results of an
  older revision are shown as stale.

Names in this package are never removed and keep their meaning while `bench_core.API` stays the same.
"""

from bench_core.contracts.capabilities import Clustering as Clustering
from bench_core.contracts.capabilities import CrossModal as CrossModal
from bench_core.contracts.capabilities import FactorSubspaces as FactorSubspaces
from bench_core.contracts.capabilities import Generative as Generative
from bench_core.contracts.capabilities import LatentVariable as LatentVariable
from bench_core.contracts.capabilities import Matching as Matching
from bench_core.contracts.capabilities import NoisyChannel as NoisyChannel
from bench_core.contracts.capabilities import OutlierScoring as OutlierScoring
from bench_core.contracts.capabilities import PairGenerative as PairGenerative
from bench_core.contracts.capabilities import PosteriorSampling as PosteriorSampling
from bench_core.contracts.capabilities import PriorName as PriorName
from bench_core.contracts.capabilities import Sampling as Sampling
from bench_core.contracts.capabilities import StoredFeatures as StoredFeatures
from bench_core.contracts.capabilities import Translating as Translating
from bench_core.contracts.dataset import Dataset as Dataset
from bench_core.contracts.dataset import DataSpec as DataSpec
from bench_core.contracts.dataset import Items as Items
from bench_core.contracts.dataset import Reader as Reader
from bench_core.contracts.dataset import Split as Split
from bench_core.contracts.encoder import Encoder as Encoder
from bench_core.contracts.encoder import OutsideWeights as OutsideWeights
from bench_core.contracts.evaluator import MOST_IMAGES as MOST_IMAGES
from bench_core.contracts.evaluator import Embedded as Embedded
from bench_core.contracts.evaluator import Evaluation as Evaluation
from bench_core.contracts.evaluator import Evaluator as Evaluator
from bench_core.contracts.evaluator import Frozen as Frozen
from bench_core.contracts.evaluator import OtherData as OtherData
from bench_core.contracts.evaluator import PerItem as PerItem
from bench_core.contracts.evaluator import Score as Score
from bench_core.contracts.example import Example as Example
from bench_core.contracts.objective import Batch as Batch
from bench_core.contracts.objective import EpochContext as EpochContext
from bench_core.contracts.objective import Objective as Objective
from bench_core.contracts.players import Loss as Loss
from bench_core.contracts.players import ParameterGroup as ParameterGroup
from bench_core.contracts.players import Player as Player
from bench_core.contracts.players import Stage as Stage
from bench_core.contracts.recipe import Recipe as Recipe
from bench_core.contracts.recipe import Variant as Variant

__all__ = [
    "MOST_IMAGES",
    "Batch",
    "Clustering",
    "CrossModal",
    "DataSpec",
    "Dataset",
    "Embedded",
    "Encoder",
    "EpochContext",
    "Evaluation",
    "Evaluator",
    "Example",
    "FactorSubspaces",
    "Frozen",
    "Generative",
    "Items",
    "LatentVariable",
    "Loss",
    "Matching",
    "NoisyChannel",
    "Objective",
    "OtherData",
    "OutlierScoring",
    "OutsideWeights",
    "PairGenerative",
    "ParameterGroup",
    "PerItem",
    "Player",
    "PosteriorSampling",
    "PriorName",
    "Reader",
    "Recipe",
    "Sampling",
    "Score",
    "Split",
    "Stage",
    "StoredFeatures",
    "Translating",
    "Variant",
]
