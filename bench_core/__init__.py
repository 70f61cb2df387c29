"""bench: train self-supervised methods once, embed once, run every task, write leaderboards.

Names load on first use, so that `bench --help` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from bench_core.api import evaluate as evaluate
    from bench_core.api import leaderboard as leaderboard
    from bench_core.api import results as results
    from bench_core.api import run as run
    from bench_core.config import Config as Config
    from bench_core.config import NoConfig as NoConfig
    from bench_core.config import param as param
    from bench_core.contracts import MOST_IMAGES as MOST_IMAGES
    from bench_core.contracts import Batch as Batch
    from bench_core.contracts import Clustering as Clustering
    from bench_core.contracts import CrossModal as CrossModal
    from bench_core.contracts import Dataset as Dataset
    from bench_core.contracts import DataSpec as DataSpec
    from bench_core.contracts import Embedded as Embedded
    from bench_core.contracts import Encoder as Encoder
    from bench_core.contracts import EpochContext as EpochContext
    from bench_core.contracts import Evaluation as Evaluation
    from bench_core.contracts import Evaluator as Evaluator
    from bench_core.contracts import Example as Example
    from bench_core.contracts import FactorSubspaces as FactorSubspaces
    from bench_core.contracts import Frozen as Frozen
    from bench_core.contracts import Generative as Generative
    from bench_core.contracts import Items as Items
    from bench_core.contracts import LatentVariable as LatentVariable
    from bench_core.contracts import Loss as Loss
    from bench_core.contracts import Matching as Matching
    from bench_core.contracts import NoisyChannel as NoisyChannel
    from bench_core.contracts import Objective as Objective
    from bench_core.contracts import OtherData as OtherData
    from bench_core.contracts import OutlierScoring as OutlierScoring
    from bench_core.contracts import OutsideWeights as OutsideWeights
    from bench_core.contracts import PairGenerative as PairGenerative
    from bench_core.contracts import ParameterGroup as ParameterGroup
    from bench_core.contracts import PerItem as PerItem
    from bench_core.contracts import Player as Player
    from bench_core.contracts import PosteriorSampling as PosteriorSampling
    from bench_core.contracts import PriorName as PriorName
    from bench_core.contracts import Reader as Reader
    from bench_core.contracts import Recipe as Recipe
    from bench_core.contracts import Sampling as Sampling
    from bench_core.contracts import Score as Score
    from bench_core.contracts import Split as Split
    from bench_core.contracts import Stage as Stage
    from bench_core.contracts import StoredFeatures as StoredFeatures
    from bench_core.contracts import Translating as Translating
    from bench_core.contracts import Variant as Variant
    from bench_core.errors import BenchError as BenchError
    from bench_core.errors import ConfigError as ConfigError
    from bench_core.errors import DataMissingError as DataMissingError
    from bench_core.export.load import load_encoder as load_encoder
    from bench_core.plugins import load_plugins as load_plugins
    from bench_core.ranges import choice as choice
    from bench_core.ranges import log as log
    from bench_core.ranges import uniform as uniform
    from bench_core.seeds import stream as stream
    from bench_core.seeds import stream_seed as stream_seed

API = 1  # the number of the contract with plugins; it only grows
hookimpl = pluggy.HookimplMarker("bench")

_HOME = {
    "api": ("evaluate", "leaderboard", "results", "run"),
    "export.load": ("load_encoder",),
    "config": ("Config", "NoConfig", "param"),
    "contracts": (
        "Batch", "Clustering", "CrossModal", "DataSpec", "Dataset", "Embedded", "Encoder", "EpochContext",
        "Evaluation", "Evaluator", "Example", "FactorSubspaces", "Frozen", "Generative", "Items", "LatentVariable",
        "Loss", "MOST_IMAGES", "Matching", "NoisyChannel", "Objective", "OtherData", "OutlierScoring",
        "OutsideWeights", "PairGenerative", "ParameterGroup", "PerItem", "Player", "PosteriorSampling", "PriorName",
        "Reader", "Recipe",
        "Sampling", "Score", "Split", "Stage", "StoredFeatures", "Translating", "Variant",
    ),
    "errors": ("BenchError", "ConfigError", "DataMissingError"),
    "plugins": ("load_plugins",),
    "ranges": ("choice", "log", "uniform"),
    "seeds": ("stream", "stream_seed"),
}  # fmt: skip
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "API",
    "MOST_IMAGES",
    "Batch",
    "BenchError",
    "Clustering",
    "Config",
    "ConfigError",
    "CrossModal",
    "DataMissingError",
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
    "NoConfig",
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
    "choice",
    "evaluate",
    "hookimpl",
    "leaderboard",
    "load_encoder",
    "load_plugins",
    "log",
    "param",
    "results",
    "run",
    "stream",
    "stream_seed",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'bench_core' has no attribute {name!r}")
    return getattr(import_module(f"bench_core.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
