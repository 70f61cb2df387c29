"""The Inception network is loaded from one file only, and a missing part is named; a stub replaces the network."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import bench_evaluators.generation.inception as module
from bench_core.errors import DataMissingError
from bench_core.files import file_digest
from bench_evaluators.generation.inception import FILE, Inception, inception_missing_reason

CPU = torch.device("cpu")


class StandIn(nn.Module):
    """Stub of the network: mean colours instead of 2,048 features."""

    def __init__(self, name: str, features: Sequence[str], feature_extractor_weights_path: Path) -> None:
        super().__init__()
        assert features == ["2048"]
        self.fc = nn.Linear(3, 5)
        self.load_state_dict(torch.load(feature_extractor_weights_path))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (images.float().mean((2, 3)),)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a torch-fidelity with the stub."""
    package, inner = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    inner.FeatureExtractorInceptionV3 = StandIn  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", inner)
    monkeypatch.setattr(module, "find_spec", lambda name: object())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "some.pth"
    torch.save({"fc.weight": torch.arange(15.0).view(5, 3), "fc.bias": torch.ones(5)}, path)
    return path


def test_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert (
        inception_missing_reason(str(weights)) == "Inception needs torch-fidelity: pip install 'bench-core[generation]'"
    )
    with pytest.raises(DataMissingError, match=r"pip install 'bench-core\[generation\]'\."):
        Inception(str(weights), CPU)


@pytest.mark.usefixtures("installed")
def test_missing_file_is_named_with_the_place_where_it_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert inception_missing_reason(None) == (
        f"Inception needs the file {FILE} of torch-fidelity's release v0.2.0; there is none in torch's hub cache"
    )
    assert str(inception_missing_reason(str(tmp_path / "no"))).endswith("there is none at inception_weights")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / FILE).touch()
    assert inception_missing_reason(None) is None


@pytest.mark.usefixtures("installed")
def test_file_with_another_digest_is_refused(weights: Path) -> None:
    named = weights.rename(weights.with_name(FILE))
    with pytest.raises(DataMissingError, match=r"its SHA-256 is [0-9a-f]{8}\.\.\., not 6726825d"):
        Inception(str(named), CPU)


@pytest.mark.usefixtures("installed")
def test_grey_channel_is_repeated_and_logits_have_no_bias(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHA256", file_digest(weights))
    network = Inception(str(weights), CPU)
    images = torch.arange(120, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)  # more than one batch
    features = network.features(images)
    assert torch.equal(features, torch.arange(120.0)[:, None].expand(-1, 3))
    assert torch.equal(network.logits(features)[1], torch.arange(15.0).view(5, 3).sum(1))


def test_the_name_of_the_file_is_its_digest() -> None:
    assert FILE.removesuffix(".pth").endswith(module.SHA256[:8])
    assert len(module.SHA256) == 64
