"""A wrong data folder is a wrong request, exit code 2, for every dataset that reads from it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core.errors import DataMissingError, RequestError
from bench_core.planning.chains import Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_core.running.chain import load_splits

REGISTRY = load_plugins()
DATASETS = [component.name for component in REGISTRY.of_kind("dataset")]
READ_NOTHING = {"digit_pairs", "digits", "gaussian_pairs", "gaussian_ring", "made_bands", "sprites"}
FILES = (
    "MNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/train-images-idx3-ubyte.gz",
    "cifar-10-batches-py/data_batch_1", "cifar-100-python/train", "svhn/train_32x32.mat", "stl10_binary/train_X.bin",
    "cifar10-jpeg/train/a/b.jpg", "mirflickr/im1.jpg", "mirflickr25k_annotations_v080/animals.txt",
    "image_folder/train/a/b.png", "dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", "3dshapes/3dshapes.h5",
    "planetoid/ind.cora.allx", "multiband/Forest/Forest_1.tif",
)  # fmt: skip


def plan(dataset: str, root: Path) -> Plan:
    request = Request(datasets=[dataset], encoders=["convnet"], methods=["random"], tasks=["knn"], data_root=root)
    return make_plan(request, REGISTRY)


def missing(root: Path) -> Path:
    return root / "missing"


def empty(root: Path) -> Path:
    return root


def files_in_the_place_of_folders(root: Path) -> Path:
    for name in FILES:
        (root / name.partition("/")[0]).write_text("a file")
    return root


def folders_in_the_place_of_files(root: Path) -> Path:
    for name in FILES:
        (root / name).mkdir(parents=True)
    return root


def links_to_nowhere(root: Path) -> Path:
    for name in FILES:
        (root / name.partition("/")[0]).symlink_to(root / "nowhere")
    return root


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name not in READ_NOTHING])
@pytest.mark.parametrize(
    "made", [missing, empty, files_in_the_place_of_folders, folders_in_the_place_of_files, links_to_nowhere]
)
def test_dataset_that_is_not_in_the_data_folder_is_missing(
    dataset: str, made: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = made(tmp_path)
    with pytest.raises(DataMissingError, match=rf"^{dataset}: {root}/.*--data-root or BENCH_DATA names another folder"):
        load_splits(plan(dataset, root).chains[0])


@pytest.mark.parametrize("dataset", DATASETS)
def test_data_folder_that_is_a_file_is_refused(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match=r"the data folder '.*file' is no folder; name a folder with --data-root"):
        plan(dataset, tmp_path / "file")


def test_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot be read \(File name too long\)"):
        plan("digits", tmp_path / ("x" * 300))
    with pytest.raises(RequestError, match=r"cannot be read \((stat: )?embedded null"):
        plan("digits", Path("a\0b"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match=r"cannot be read \(Not a directory\)"):
        plan("digits", tmp_path / "file" / "data")


@pytest.mark.parametrize("dataset", sorted(READ_NOTHING))
def test_dataset_that_reads_nothing_from_it_works_without_a_data_folder(dataset: str, tmp_path: Path) -> None:
    assert len(load_splits(plan(dataset, tmp_path / "missing").chains[0])) == 2
