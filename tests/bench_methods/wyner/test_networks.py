import pytest
import torch

from bench_core import DataSpec
from bench_methods.wyner.networks import Decoder, ModalityEncoder, feature_network, modality_skip_reason

SPLITS = {"train": 4}
IMAGE = DataSpec(shape=(2, 14, 28), splits=SPLITS)
VECTOR = DataSpec(shape=(5,), splits=SPLITS)


@pytest.mark.parametrize("data", [IMAGE, VECTOR, DataSpec(shape=(1, 9, 11), splits=SPLITS)])
def test_a_decoder_makes_items_of_the_shape_that_the_features_read(data: DataSpec) -> None:
    torch.manual_seed(0)
    items = Decoder(data, 3, 2, 4, 8)(torch.randn(6, 3), torch.randn(6, 2))
    assert items.shape == (6, *data.shape)
    assert feature_network(data, 4, 8)(items).shape == (6, 8)
    assert not data.is_image or bool(((items > 0) & (items < 1)).all())


def test_a_private_latent_depends_on_the_item_and_on_the_common_latent() -> None:
    torch.manual_seed(0)
    encoder = ModalityEncoder(VECTOR, 3, 2, 4, 8)
    items = torch.randn(6, 5)
    features = encoder.features(items)
    z = encoder.to_common(features)
    joined = torch.cat([features, z], 1)
    expected = joined @ encoder.to_private.weight.T + encoder.to_private.bias
    assert torch.allclose(encoder.private(features, z), expected, atol=1e-6)
    assert not torch.allclose(encoder.private(features, z + 1), expected)
    assert not torch.allclose(encoder.private(features + 1, z), expected)


def test_small_images_and_graphs_are_refused_with_a_reason() -> None:
    assert modality_skip_reason(VECTOR) is None
    assert modality_skip_reason(IMAGE) is None
    assert "at least 8 x 8 pixels" in str(modality_skip_reason(DataSpec(shape=(1, 7, 9), splits=SPLITS)))
    assert "reads images" in str(modality_skip_reason(DataSpec(shape=(3,), splits=SPLITS, kind="graphs")))
