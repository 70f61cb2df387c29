"""Weights that other libraries wrote, loaded into our encoders: names, prefixes, parts, and what is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench_core import DataSpec, NoConfig
from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest
from bench_core.planning.initial_weights import load_file_into
from bench_core.planning.weight_names import choose_match, find_matches
from bench_encoders.resnet import ResNet18

DATA = DataSpec(
    name="photos", shape=(3, 64, 64), splits={"train": 8}, num_classes=2, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3)
)
Loader = Callable[..., tuple[nn.Module, str]]


def resnet(seed: int = 1) -> nn.Module:
    """Torchvision's ResNet-18 with random weights and statistics, in eval mode."""
    from torchvision.models import resnet18

    torch.manual_seed(seed)
    net = resnet18(weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]  # it has statistics
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]  # it has statistics
    net.eval()
    assert isinstance(net, nn.Module)
    return net


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return resnet()


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    """Write a content with `torch.save`, and load it into a fresh encoder."""

    def load(content: object, module: nn.Module | None = None, **options: Any) -> tuple[nn.Module, str]:
        path = tmp_path / "weights.pt"
        torch.save(content, path)
        torch.manual_seed(0)
        module = module or ResNet18(DATA, NoConfig())
        return module.eval(), load_file_into(module, path, file_digest(path), **options)

    return load


def features(net: nn.Module) -> Tensor:
    """The features of torchvision's network for standardised images: it without its classifier."""
    mean, std = torch.tensor(DATA.mean).view(3, 1, 1), torch.tensor(DATA.std).view(3, 1, 1)
    images = (IMAGES - mean) / std
    with torch.no_grad():
        found = nn.Sequential(*list(net.children())[:-1])(images).flatten(1)
    assert isinstance(found, Tensor)
    return found


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def gives_features_of(encoder: nn.Module, net: nn.Module) -> bool:
    with torch.no_grad():
        return torch.allclose(encoder(IMAGES), features(net), rtol=1e-4, atol=1e-5)


def with_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def other_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value + 1 for name, value in state.items()}


def without_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def torchvision_file(state: dict[str, Tensor]) -> object:
    return state


def solo_learn_file(state: dict[str, Tensor]) -> object:
    body = without_classifier(state)
    heads = {"classifier.weight": torch.zeros(10, 512), "projector.0.weight": torch.zeros(8, 512)}
    momentum = with_prefix("momentum_backbone.", other_weights(body))
    return {"epoch": 9, "state_dict": {**with_prefix("backbone.", body), **momentum, **heads}}


def older_solo_learn_file(state: dict[str, Tensor]) -> object:
    return {"state_dict": with_prefix("encoder.", without_classifier(state))}


def vissl_file(state: dict[str, Tensor]) -> object:
    trunk = with_prefix("_feature_blocks.", without_classifier(state))
    trunk = {name: value for name, value in trunk.items() if not name.endswith("num_batches_tracked")}
    model = {"trunk": trunk, "heads": {"0.clf.0.weight": torch.zeros(8, 512)}}
    return {"classy_state_dict": {"base_model": {"model": model, "meta": {}}}, "iteration": 5}


def moco_file(state: dict[str, Tensor]) -> object:
    query = with_prefix("module.encoder_q.", state)
    key = with_prefix("module.encoder_k.", other_weights(state))
    return {"arch": "resnet18", "state_dict": {**query, **key, "module.queue": torch.zeros(128, 16)}}


def dino_file(state: dict[str, Tensor]) -> object:
    body = without_classifier(state)
    head = {"head.last_layer.weight_v": torch.zeros(4, 4)}
    return {
        "student": {**with_prefix("module.backbone.", other_weights(body)), **with_prefix("module.", head)},
        "teacher": {**with_prefix("backbone.", body), **head},
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def lightning_file(state: dict[str, Tensor]) -> object:
    return {"pytorch-lightning_version": "2.0", "state_dict": with_prefix("model.backbone.net.", state)}


@pytest.mark.parametrize(
    "file",
    [
        torchvision_file, solo_learn_file, older_solo_learn_file, vissl_file, moco_file, dino_file, lightning_file,
    ],
)  # fmt: skip
def test_files_of_other_libraries_give_the_features_of_their_network(
    file: Callable[[dict[str, Tensor]], object], source: nn.Module, loaded: Loader
) -> None:
    encoder, text = loaded(file(dict(source.state_dict())))
    assert gives_features_of(encoder, source)
    assert 1 <= len(text.splitlines()) <= 2


def test_a_checkpoint_that_lightly_writes_gives_the_features_of_its_backbone(source: nn.Module, loaded: Loader) -> None:
    from lightly.models.modules import SimCLRProjectionHead

    class SimCLR(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*list(source.children())[:-1])
            self.projection_head = SimCLRProjectionHead(512, 32, 16)

    encoder, text = loaded({"state_dict": SimCLR().state_dict()})
    assert gives_features_of(encoder, source)
    assert "under state_dict.backbone" in text
    assert "projection_head" in text


def test_lightlys_own_resnet_for_small_images_gives_the_same_features(loaded: Loader) -> None:
    from lightly.models import ResNetGenerator

    torch.manual_seed(2)
    net = ResNetGenerator("resnet-18").eval()
    body = list(net.children())[:-1]
    backbone = nn.Sequential(*body[:2], nn.ReLU(), *body[2:], nn.AdaptiveAvgPool2d(1)).eval()  # as its forward does
    small = DataSpec(name="small", shape=(3, 32, 32), splits={"train": 8}, num_classes=2)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    for state in (net.state_dict(), with_prefix("backbone.", backbone.state_dict())):
        encoder, _ = loaded(state, ResNet18(small, NoConfig()))
        with torch.no_grad():
            assert torch.allclose(encoder(images), backbone(images).flatten(1), rtol=1e-4, atol=1e-5)


def test_mean_and_std_of_the_data_stay_those_of_the_encoder(source: nn.Module, loaded: Loader) -> None:
    encoder, _ = loaded(source.state_dict())
    assert torch.equal(encoder.get_buffer("standardize.mean").flatten(), torch.tensor(DATA.mean))


def test_init_part_chooses_another_part(source: nn.Module, loaded: Loader) -> None:
    other = resnet(seed=5)
    content = {"student": with_prefix("module.backbone.", other.state_dict()), "teacher": source.state_dict()}
    assert gives_features_of(loaded(content)[0], source)
    assert gives_features_of(loaded(content, part="student")[0], other)
    with pytest.raises(RequestError, match=r"init_part = 'pupil'\. Choose one of student\.module\.backbone, teacher:"):
        loaded(content, part="pupil")


def test_several_parts_that_fit_are_listed(source: nn.Module, loaded: Loader) -> None:
    content = {"model": source.state_dict(), "teacher": other_weights(source.state_dict())}
    with pytest.raises(RequestError, match=r"several parts .* model, teacher: --set NAME\.init_part=model"):
        loaded(content)
    assert gives_features_of(loaded(content, part="model")[0], source)
    encoder, _ = loaded({**source.state_dict(), **content}, part=".")
    assert gives_features_of(encoder, source)


def test_nothing_is_loaded_where_a_tensor_is_missing(source: nn.Module, tmp_path: Path) -> None:
    state = dict(source.state_dict())
    del state["layer4.1.conv2.weight"]
    path = tmp_path / "weights.safetensors"
    save_file(with_prefix("backbone.", state), path)
    torch.manual_seed(0)
    encoder = ResNet18(DATA, NoConfig())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(StoreError, match=r"under backbone; it lacks 1 tensor \(net\.layer4\.1\.conv2\.weight\)"):
        load_file_into(encoder, path, file_digest(path))
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    text = load_file_into(encoder, path, file_digest(path), partial=True)
    assert "not loaded, because the file lacks them or has other shapes: 1 tensor" in text
    after = encoder.state_dict()
    assert torch.equal(after["net.conv1.weight"], state["conv1.weight"])
    assert torch.equal(after["net.layer4.1.conv2.weight"], before["net.layer4.1.conv2.weight"])


def test_a_stem_of_another_shape_is_named_with_both_shapes(source: nn.Module, loaded: Loader) -> None:
    small = ResNet18(DataSpec(name="small", shape=(3, 32, 32), splits={"train": 8}, num_classes=2), NoConfig())
    backbone = nn.Sequential(*list(source.children())[:-1])
    for state in (source.state_dict(), with_prefix("backbone.", backbone.state_dict())):
        with pytest.raises(StoreError, match=r"net\.conv1\.weight: \(64, 3, 7, 7\), not \(64, 3, 3, 3\)"):
            loaded(state, small)
        _, text = loaded(state, small, partial=True)
        assert "1 tensor (net.conv1.weight)" in text


def test_a_network_with_more_layers_is_refused(loaded: Loader) -> None:
    from torchvision.models import resnet34

    with pytest.raises(StoreError, match=r"has layers that the encoder lacks, \d+ tensors \(layer1\.2\."):
        loaded(resnet34(weights=None).state_dict())
    with pytest.raises(StoreError, match="has layers that the encoder lacks"):  # nothing would come from the seed
        loaded(resnet34(weights=None).state_dict(), partial=True)


def test_init_partial_is_refused_where_the_file_holds_all(source: nn.Module, loaded: Loader) -> None:
    with pytest.raises(RequestError, match=r"holds all tensors of this encoder under module; leave out init_partial"):
        loaded(with_prefix("module.", source.state_dict()), partial=True)


def test_messages_have_at_most_three_lines(loaded: Loader) -> None:
    for content in ({"first.weight": torch.zeros(1)}, {f"{'x' * 5000}.{n}": torch.zeros(1) for n in range(500)}):
        with pytest.raises(StoreError, match="does not hold the weights of this encoder") as refused:
            loaded(content)
        assert len(str(refused.value).splitlines()) <= 3
        assert len(str(refused.value)) < 1000
        assert "standardize" not in str(refused.value)  # no file has to have it


def test_numbered_layers_are_taken_only_if_one_order_fits() -> None:
    expected = {"first.weight": (4, 4), "last.weight": (4, 4)}
    two = {"net.0.weight": (4, 4), "net.2.weight": (4, 4)}
    (match, *_) = find_matches(expected, set(), two)
    assert match.names == {"first.weight": "net.0.weight", "last.weight": "net.2.weight"}
    three = {**two, "net.4.weight": (4, 4)}  # any two of the three would do
    assert not any(match.is_complete for match in find_matches(expected, set(), three))
    head = {**two, "net.4.weight": (9, 4)}  # a head of another shape
    chosen = choose_match(find_matches(expected, set(), head), "", partial=False)
    assert chosen is not None
    assert chosen.is_complete


def test_a_vision_transformer_of_timm_gives_the_same_features(loaded: Loader) -> None:
    from timm.models.vision_transformer import VisionTransformer

    from bench_encoders.vit import ViTTiny

    torch.manual_seed(6)
    net = VisionTransformer(
        img_size=64, patch_size=8, embed_dim=192, depth=2, num_heads=3, class_token=False, global_pool="avg"
    ).eval()
    data = DataSpec(name="photos", shape=(3, 64, 64), splits={"train": 8}, num_classes=2)
    encoder, _ = loaded({"teacher": with_prefix("backbone.", net.state_dict())}, ViTTiny(data, ViTTiny.Config(depth=2)))
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(IMAGES), pre_logits=True)
        assert torch.allclose(encoder(IMAGES), expected, rtol=1e-4, atol=1e-5)
