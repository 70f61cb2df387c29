"""What is measured in a space, and under which names."""

import pytest
import torch
from torch import nn

from bench_evaluators.generation.feature_space import INCEPTION_NAMES, MEASURES, FeatureSpace
from bench_evaluators.generation.sample_quality import frechet_distance

REAL, MADE = torch.rand(40, 3), torch.rand(40, 3)


def test_one_that_is_not_full_gives_a_frechet_distance_alone() -> None:
    found = FeatureSpace("pixels", nn.Identity(), full=False).measures(REAL, MADE)
    assert found == {"frechet": pytest.approx(frechet_distance(REAL, MADE))}


def test_a_classifier_adds_the_inception_score_and_neighbours_the_rest() -> None:
    assert set(FeatureSpace("a", nn.Identity()).distances(REAL, MADE)) == {"frechet", "kernel"}
    judge = FeatureSpace("a", nn.Identity(), nn.Identity())
    assert set(judge.distances(REAL, MADE)) == {"frechet", "kernel", "inception_score"}
    assert set(judge.measures(REAL, MADE)) == set(MEASURES)


def test_names_end_with_the_extractors_unless_all_know_another() -> None:
    assert FeatureSpace("reference", nn.Identity()).metric("frechet") == "frechet_reference"
    inception = FeatureSpace("inception", nn.Identity(), metrics=INCEPTION_NAMES)
    assert [inception.metric(name) for name in ("frechet", "kernel", "recall")] == ["fid", "kid", "recall_inception"]
