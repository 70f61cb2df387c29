"""Measures of a feature space, and the names of its metrics."""

import pytest
import torch
from torch import nn

from bench_evaluators.generation.feature_space import INCEPTION_NAMES, MEASURES, FeatureSpace
from bench_evaluators.generation.sample_quality import frechet_distance

REAL, GENERATED = torch.rand(40, 3), torch.rand(40, 3)


def test_space_that_is_not_full_measures_only_the_frechet_distance() -> None:
    values = FeatureSpace("pixels", nn.Identity(), full=False).measures(REAL, GENERATED)
    assert values == {"frechet": pytest.approx(frechet_distance(REAL, GENERATED))}


def test_classifier_adds_the_inception_score_and_measures_add_neighbourhoods() -> None:
    assert set(FeatureSpace("a", nn.Identity()).distances(REAL, GENERATED)) == {"frechet", "kernel"}
    space = FeatureSpace("a", nn.Identity(), nn.Identity())
    assert set(space.distances(REAL, GENERATED)) == {"frechet", "kernel", "inception_score"}
    assert set(space.measures(REAL, GENERATED)) == set(MEASURES)


def test_metric_ends_with_the_name_of_the_space_unless_it_has_a_usual_name() -> None:
    assert FeatureSpace("reference", nn.Identity()).metric("frechet") == "frechet_reference"
    inception = FeatureSpace("inception", nn.Identity(), metrics=INCEPTION_NAMES)
    assert [inception.metric(name) for name in ("frechet", "kernel", "recall")] == ["fid", "kid", "recall_inception"]
