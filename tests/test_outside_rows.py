"""Networks of three other libraries, from files, beside one of ours in one table on digits."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from bench_core.api import results
from bench_core.cli.group import main

TASKS = ("--tasks", "knn", "--quiet")


def bench(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module", autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def timm_file(tmp_path: Path) -> Path:
    import timm

    path = tmp_path / "mine.pt"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    return path


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16, patch_size=4
    )
    ViTModel(config).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def lightly_file(tmp_path: Path) -> Path:
    from lightly.models.modules import SimCLRProjectionHead
    from torchvision.models import resnet18

    network = resnet18()
    network.conv1, network.maxpool = nn.Conv2d(1, 64, 3, 1, padding=1, bias=False), nn.Identity()  # of small images
    model = nn.Module()
    model.backbone = nn.Sequential(*list(network.children())[:-1])
    model.projection_head = SimCLRProjectionHead(512, 512, 128)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "lightly.ckpt")
    return tmp_path / "lightly.ckpt"


def test_networks_of_timm_hugging_face_and_lightly_stand_beside_ours(
    timm_file: Path, vit_folder: Path, lightly_file: Path, tmp_path: Path
) -> None:
    store = ("--store", tmp_path / "runs")
    timm = ("--set", "timm.model=resnet18", "--set", f"timm.weights={timm_file}", "--set", "timm.size=32")
    bench("run", "--methods", "frozen", "--encoders", "timm", *timm, *TASKS, *store)
    vit = ("--set", f"huggingface.model={vit_folder}")
    bench("run", "--methods", "frozen", "--encoders", "huggingface", *vit, *TASKS, *store)
    init = ("--set", f"frozen.init={lightly_file}")
    bench("run", "--methods", "frozen", "--encoders", "resnet18", *init, *TASKS, *store)
    bench("run", "--methods", "random", *TASKS, *store)
    frame = results(tmp_path / "runs").query("metric == 'top1'")
    assert len(frame) == 4
    assert (frame["value"] > 0.2).all()  # networks of random weights; chance is .1
    table = bench("table", *store)
    assert table.count("digits") >= 1
    lines = [line for line in table.splitlines() if "one network" in line]
    assert len(lines) >= 3
    for name in ("timm", "huggingface", "resnet18", "convnet"):
        assert name in table
