"""`multiband` in the three layouts of folders, with small files that are made here."""

import json
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from bench_core.config import build, plain
from bench_core.contracts import Split
from bench_core.data import open_split
from bench_core.data.checked import load_split
from bench_core.errors import ConfigError, DataMissingError
from bench_datasets.multiband import dataset as module
from bench_datasets.multiband.dataset import Multiband, MultibandConfig, bench_datasets


def write(path: Path, array: npt.NDArray[Any], **options: Any) -> None:
    """Write an array as the suffix of its file says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, bands=array)
    else:
        tifffile.imwrite(path, array, photometric="minisblack", **options)


def multiband(root: Path, **config: Any) -> Multiband:
    return Multiband(root, build(MultibandConfig, {"path": "bands", **config}, "multiband"))


def images_of(data: Multiband, split: str = "train") -> Tensor:
    inputs = data.load(split).inputs
    assert isinstance(inputs, Tensor)
    return inputs


def labels_of(split: Split) -> Any:
    assert split.labels is not None
    return split.labels.tolist()


def lists(folder: Path, train: list[str], test: list[str]) -> None:
    for name, names in (("train", train), ("test", test)):
        (folder / f"{name}.txt").write_text("\n".join(names))


def some_bands(seed: int, bands: int = 5, size: int = 6, kind: type = np.uint16) -> npt.NDArray[Any]:
    return np.random.RandomState(seed).randint(0, 10001, (bands, size, size)).astype(kind)


@pytest.fixture
def eurosat(tmp_path: Path) -> Path:
    """Two classes of four images in one file each, with lists of train and test."""
    folder = tmp_path / "bands"
    for label, name in enumerate(("Forest", "River")):
        for k in range(1, 5):
            write(folder / name / f"{name}_{k}.tif", some_bands(10 * label + k), planarconfig="separate")
    lists(folder, ["Forest_1.tif", "Forest/Forest_2", "River_1.jpg", "River_2"], ["Forest_3", "", "River_4.tif"])
    return tmp_path


@pytest.fixture
def bigearthnet(tmp_path: Path) -> Path:
    """Four patches of three bands at three resolutions, with one or two labels each."""
    labels = (["Pastures", "Sea"], ["Sea"], ["Pastures", "Sea"], ["Pastures"])
    for k, names in enumerate(labels):
        patch = tmp_path / "bands" / f"S2A_{k}"
        for band, size in (("B01", 2), ("B02", 12), ("B8A", 6), ("B11", 6), ("B09", 2)):
            write(patch / f"S2A_{k}_{band}.tif", np.full((size, size), 1000 * k + 100, np.uint16))
        (patch / f"S2A_{k}_labels_metadata.json").write_text(json.dumps({"labels": names, "tile": "x"}))
    lists(tmp_path / "bands", ["S2A_0", "S2A_1", "S2A_3"], ["S2A_2"])
    return tmp_path


@pytest.fixture
def ssl4eo(tmp_path: Path) -> Path:
    """Four places at two times each, of three bands."""
    for place in range(4):
        for number, time in enumerate(("20200604T0", "20210101T0")):
            for band, size in (("B10", 4), ("B2", 8), ("B8A", 4)):
                values = np.full((size, size), 1000 * place + 500 * number, np.int16)
                write(tmp_path / "bands" / f"000{place}" / time / f"{band}.tif", values)
    lists(tmp_path / "bands", ["0000", "0001", "0002"], ["0003"])
    return tmp_path


def test_one_file_for_each_image_in_folders_of_classes(eurosat: Path) -> None:
    data = multiband(eurosat)
    spec, train = data.spec(), data.load("train")
    assert (spec.shape, spec.kind, spec.views) == ((5, 6, 6), "image", "bands")
    assert (spec.num_classes, spec.num_labels, dict(spec.splits)) == (2, None, {"train": 4, "test": 2})
    assert labels_of(train) == [0, 0, 1, 1]
    assert labels_of(data.load("test")) == [0, 1]
    expected = torch.from_numpy(np.stack([some_bands(seed) for seed in (1, 2, 11, 12)]).astype(np.float32)) / 10000
    assert images_of(data).dtype == torch.float32
    torch.testing.assert_close(images_of(data), expected)


def test_one_file_for_each_band_with_several_labels(bigearthnet: Path) -> None:
    data = multiband(bigearthnet)
    spec = data.spec()
    assert (spec.shape, spec.num_labels, spec.num_classes) == ((5, 12, 12), 2, None)
    assert labels_of(data.load("train")) == [[True, True], [False, True], [True, False]]
    assert labels_of(data.load("test")) == [[True, True]]
    assert images_of(data)[:, :, 3, 3] == pytest.approx(np.repeat([[0.01], [0.11], [0.31]], 5, 1))


def test_one_file_for_each_band_at_several_times_without_labels(ssl4eo: Path) -> None:
    data = multiband(ssl4eo)
    spec = data.spec()
    assert (spec.shape, spec.num_labels, spec.num_classes) == ((3, 8, 8), None, None)
    assert data.load("train").labels is None
    assert images_of(data)[:, 0, 0, 0].tolist() == pytest.approx([0, 0.1, 0.2])
    assert images_of(multiband(ssl4eo, season=1))[:, 0, 0, 0].tolist() == pytest.approx([0.05, 0.15, 0.25])
    every = multiband(ssl4eo, season="all")
    assert dict(every.spec().splits) == {"train": 6, "test": 2}
    assert images_of(every)[:, 2, 0, 0].tolist() == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25])
    with pytest.raises(DataMissingError, match=r"0000 has 2 times, so there is no season 2; set multiband.season"):
        multiband(ssl4eo, season=2).spec()


def test_bands_are_sorted_by_number(tmp_path: Path) -> None:
    names = ("B10", "B2", "B8A", "B1", "B9", "B8", "VV")
    for value, name in enumerate(names):
        for place in ("a", "b"):
            write(tmp_path / "bands" / place / "t" / f"{name}.npy", np.full((2, 2), value, np.uint16))
    lists(tmp_path / "bands", ["a"], ["b"])
    found = images_of(multiband(tmp_path, scale=100))[0, :, 0, 0].mul(100).round().int().tolist()
    assert [names[value] for value in found] == ["B1", "B2", "B8", "B8A", "B9", "B10", "VV"]


def test_bands_are_read_in_the_order_that_is_asked_for(eurosat: Path) -> None:
    whole = images_of(multiband(eurosat))
    data = multiband(eurosat, bands=[3, 0, 4])
    assert data.spec().shape == (3, 6, 6)
    assert torch.equal(images_of(data), whole[:, [3, 0, 4]])


def test_only_the_chosen_files_decide_about_the_size(bigearthnet: Path) -> None:
    assert multiband(bigearthnet, bands=["B01", "B09"]).spec().shape == (2, 2, 2)
    assert multiband(bigearthnet, bands=["B8A", 0]).spec().shape == (2, 6, 6)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (["B99"], r"multiband.bands: no band named 'B99'.* Bands: B01, B02, B8A, B09, B11\."),
        ([5], "multiband.bands: there is no band 5; the last has the number 4"),
        ([-1], "bands must be names or numbers from 0, got -1"),
    ],
)
def test_bands_that_do_not_exist_are_refused(bands: list[Any], message: str, bigearthnet: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        multiband(bigearthnet, bands=bands).spec()


def test_bands_of_one_file_that_do_not_exist_are_refused(eurosat: Path) -> None:
    with pytest.raises(ConfigError, match=r"no band named 'B02'\. Bands of one file have numbers from 0, no names"):
        multiband(eurosat, bands=["B02"]).spec()
    with pytest.raises(DataMissingError, match=r"it has 5 bands, but multiband\.bands asks for number 7"):
        multiband(eurosat, bands=[7]).spec()


def test_a_coarse_band_is_resized_as_pillow_does(tmp_path: Path) -> None:
    coarse = some_bands(0, 1, 3)[0]
    for place in ("a", "b"):
        write(tmp_path / "bands" / place / "t" / "B1.tif", coarse)
        write(tmp_path / "bands" / place / "t" / "B2.tif", some_bands(1, 1, 9)[0])
    lists(tmp_path / "bands", ["a"], ["b"])
    expected = Image.fromarray(coarse.astype(np.float32) / np.float32(10000)).resize((9, 9), Image.Resampling.BILINEAR)
    torch.testing.assert_close(images_of(multiband(tmp_path))[0, 0], torch.from_numpy(np.array(expected)))


def test_size_takes_the_centred_square(tmp_path: Path) -> None:
    array = np.ones((2, 4, 8), np.float32)
    array[:, :, 1:7] = 0.5  # the antialiasing filter reads one column beyond the square
    for place in ("a", "b"):
        write(tmp_path / "bands" / place / f"{place}.npy", array)
    lists(tmp_path / "bands", ["a/a"], ["b/b"])
    with pytest.raises(DataMissingError, match="no image of train has the label 'b'"):
        multiband(tmp_path, scale=1).spec()
    write(tmp_path / "bands" / "a" / "c.npy", array)
    lists(tmp_path / "bands", ["a/a"], ["c"])
    assert multiband(tmp_path, scale=1).spec().shape == (2, 4, 8)
    assert images_of(multiband(tmp_path, scale=1, size=2)).tolist() == [[[[0.5] * 2] * 2] * 2]


@pytest.mark.parametrize("suffix", ["tif", "npy", "npz"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("bands_last", [False, True])
def test_files_of_any_numbers_give_the_same_values(suffix: str, kind: type, bands_last: bool, tmp_path: Path) -> None:
    array: npt.NDArray[Any] = np.random.RandomState(0).randint(0, 200, (4, 6, 7)).astype(kind)
    options = {"planarconfig": "contig" if bands_last else "separate"} if suffix == "tif" else {}
    for name in ("a", "b"):
        write(
            tmp_path / "bands" / "land" / f"{name}.{suffix}",
            np.moveaxis(array, 0, 2) if bands_last else array,
            **options,
        )
    lists(tmp_path / "bands", ["a"], ["b"])
    expected = torch.from_numpy((array.astype(np.float64) / 250).astype(np.float32))[None]
    torch.testing.assert_close(images_of(multiband(tmp_path, scale=250)), expected)


def test_pages_of_a_tiff_file_are_bands(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((6, 6), value, np.uint16)) for value in (1000, 2000, 3000)]
    for name in ("a", "b"):
        path = tmp_path / "bands" / "land" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pages[0].save(path, save_all=True, append_images=pages[1:])
    lists(tmp_path / "bands", ["a"], ["b"])
    assert images_of(multiband(tmp_path))[0, :, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_values_are_cut_to_0_and_1_and_the_scale_is_in_the_key(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "bands" / "land" / f"{name}.tif", np.array([[-50, 0], [5000, 20000]], np.int16))
    lists(tmp_path / "bands", ["a"], ["b"])
    assert images_of(multiband(tmp_path)).flatten().tolist() == [0, 0, 0.5, 1]
    assert images_of(multiband(tmp_path, scale=20000)).flatten().tolist() == [0, 0, 0.25, 1]
    key = plain(multiband(tmp_path).config)
    assert key["scale"] == 10000
    assert "path" not in key


def test_wrong_scale_is_a_warning(eurosat: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "bench"):
        multiband(eurosat).spec()
        assert "scale" not in caplog.text
        multiband(eurosat, scale=1e6).spec()
    assert "the largest value is 0.0" in caplog.text
    assert "multiband.scale = 1e+06" in caplog.text


def test_mean_and_std_are_those_of_train_or_given(eurosat: Path) -> None:
    data = multiband(eurosat)
    values = images_of(data).double().transpose(0, 1).flatten(1)
    assert data.spec().mean == pytest.approx(values.mean(1).tolist(), rel=1e-5)
    assert data.spec().std == pytest.approx(values.std(1, correction=0).tolist(), rel=1e-5)
    given = multiband(eurosat, mean=[0.5] * 5, std=[0.1] * 5).spec()
    assert (given.mean, given.std) == ((0.5,) * 5, (0.1,) * 5)
    with pytest.raises(ConfigError, match=r"multiband.mean has 2 values, but there are 5 bands"):
        multiband(eurosat, mean=[0.5] * 2, std=[0.1] * 2).spec()
    with pytest.raises(ConfigError, match="give mean and std, or neither"):
        multiband(eurosat, mean=[0.5] * 5)


def test_hash_of_the_name_decides_where_no_lists_are(tmp_path: Path) -> None:
    for k in range(60):
        write(tmp_path / "bands" / "land" / f"{k}.npy", np.full((2, 2, 2), k, np.uint16))
    first = images_of(multiband(tmp_path, scale=100), "test")[:, 0, 0, 0].mul(100).round().int().tolist()
    assert 5 <= len(first) <= 20
    write(tmp_path / "bands" / "land" / "more.npy", np.full((2, 2, 2), 99, np.uint16))
    again = images_of(multiband(tmp_path, scale=100), "test")[:, 0, 0, 0].mul(100).round().int().tolist()
    assert set(again) - {99} == set(first)
    larger = images_of(multiband(tmp_path, scale=100, test_share=0.6), "test")[:, 0, 0, 0].mul(100).round().int()
    assert set(first) <= set(larger.tolist())
    with pytest.raises(DataMissingError, match=r"test has no images: the hash of names gives it none of 61\. Write"):
        multiband(tmp_path, test_share=1e-9).spec()


def test_all_times_of_a_place_are_in_one_split(ssl4eo: Path) -> None:
    for name in ("train", "test"):
        (ssl4eo / "bands" / f"{name}.txt").unlink()
    parts = multiband(ssl4eo, season="all", test_share=0.5)._splits
    places = {name: {scene.place for scene in scenes} for name, scenes in parts.items()}
    assert not places["train"] & places["test"]
    assert all(len(parts[name]) == 2 * len(places[name]) for name in parts)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (["Forest_1", "Forst_2"], ["River_1"], r"train.txt, line 2: there is no image named 'Forst_2'"),
        (["Forest_1", "River_2"], ["Forest_1.tif"], r"test.txt, line 1: 'Forest_1.tif' is in train.txt, too"),
        (["Forest_1", "River_2"], [], r"test has no images: test.txt names none"),
    ],
)
def test_lists_that_do_not_fit_are_refused(train: list[str], test: list[str], message: str, eurosat: Path) -> None:
    lists(eurosat / "bands", train, test)
    with pytest.raises(DataMissingError, match=message):
        multiband(eurosat).spec()


def test_one_list_without_the_other_is_refused(eurosat: Path) -> None:
    (eurosat / "bands" / "test.txt").unlink()
    with pytest.raises(DataMissingError, match=r"multiband: .*test.txt: does not exist, but train.txt does"):
        multiband(eurosat).spec()


def test_digest_depends_on_bands_labels_and_lists(bigearthnet: Path) -> None:
    digest = multiband(bigearthnet).digest()
    assert multiband(bigearthnet, size=4, bands=[0]).digest() == digest
    patch = bigearthnet / "bands" / "S2A_1"
    (patch / "S2A_1_labels_metadata.json").write_text(json.dumps({"labels": ["Pastures"]}))
    relabelled = multiband(bigearthnet).digest()
    write(patch / "S2A_1_B02.tif", np.full((12, 12), 7, np.uint16))
    repainted = multiband(bigearthnet).digest()
    lists(bigearthnet / "bands", ["S2A_0", "S2A_1"], ["S2A_2", "S2A_3"])
    assert len({digest, relabelled, repainted, multiband(bigearthnet).digest()}) == 4


def test_check_files_lists_and_reads_again(eurosat: Path) -> None:
    data = multiband(eurosat)
    digest = data.digest()
    write(eurosat / "bands" / "River" / "River_4.tif", some_bands(99))
    lists(eurosat / "bands", ["Forest_1", "River_1"], ["River_4"])
    data.check_files()
    assert data.digest() != digest
    assert data.spec().splits == {"train": 2, "test": 1}


def test_a_large_split_is_read_from_its_files(eurosat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = images_of(multiband(eurosat))
    monkeypatch.setattr(module, "MAX_BYTES_IN_MEMORY", 100)
    data = multiband(eurosat)
    split = load_split(data, data.spec(), "train")
    assert not isinstance(split.inputs, Tensor)
    batches = torch.cat([batch.inputs for batch in open_split(split, torch.device("cpu")).batches(3)])
    assert torch.equal(batches, whole)


def test_subsets_are_drawn_by_their_sizes(eurosat: Path) -> None:
    data = multiband(eurosat, train_size=2)
    assert data.spec().splits == {"train": 2, "test": 2}
    assert labels_of(data.load("train")) == [0, 1]


def test_damaged_and_unequal_files_are_named(eurosat: Path) -> None:
    path = eurosat / "bands" / "River" / "River_1.tif"
    path.write_bytes(b"II*\0 not a whole file")
    with pytest.raises(DataMissingError, match=r"1 of 4 images cannot be read, the first is .*River_1.tif: .*Replace"):
        multiband(eurosat).spec()
    write(path, some_bands(0, size=8), planarconfig="separate")
    with pytest.raises(DataMissingError, match=r"River_1.tif: it is 8 x 8 pixels, but another image is 6 x 6; --set"):
        multiband(eurosat).load("train")
    assert multiband(eurosat, size=6).spec().shape == (5, 6, 6)
    write(path, some_bands(0, bands=4), planarconfig="separate")
    with pytest.raises(DataMissingError, match=r"River_1.tif: it has 4 bands, but another image has 5; multib"):
        multiband(eurosat).load("train")


def test_values_that_are_no_numbers_and_arrays_that_are_no_bands_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bands" / "land" / "a.npy"
    for name in ("a", "b"):
        write(path.with_stem(name), np.zeros((2, 3, 3), np.float32))
    lists(tmp_path / "bands", ["a"], ["b"])
    for array, message in (
        (np.full((2, 3, 3), np.nan, np.float32), "values that are not finite"),
        (np.zeros((2, 3, 3), complex), "its values are complex128 of shape"),
        (np.zeros(9, np.float32), r"an array of shape \(9,\), expected bands of rows and columns"),
    ):
        write(path, array)
        with pytest.raises(DataMissingError, match=message):
            multiband(tmp_path).load("train")
    path.unlink()
    np.savez(path.with_suffix(".npz"), first=np.zeros((2, 3, 3)), second=np.zeros((2, 3, 3)))
    with pytest.raises(DataMissingError, match=r"it holds 2 arrays \(first, second\), expected one"):
        multiband(tmp_path).load("train")


def test_images_need_the_same_bands_and_labels(bigearthnet: Path) -> None:
    patch = bigearthnet / "bands" / "S2A_3"
    (patch / "S2A_3_B11.tif").rename(patch / "S2A_3_B12.tif")
    with pytest.raises(DataMissingError, match=r"S2A_3 has the bands .*need the same. They differ in: B11, B12"):
        multiband(bigearthnet).spec()
    (patch / "S2A_3_B12.tif").rename(patch / "S2A_3_B11.tif")
    labels = patch / "S2A_3_labels_metadata.json"
    labels.write_text('{"labels": "Sea"}')
    with pytest.raises(DataMissingError, match=r"is no JSON file with a list `labels` \(ValueError: its labels are"):
        multiband(bigearthnet).spec()
    labels.unlink()
    with pytest.raises(DataMissingError, match=r"S2A_3_labels_metadata.json: does not exist"):
        multiband(bigearthnet).spec()


def test_the_layout_is_found_and_may_be_set(eurosat: Path) -> None:
    (eurosat / "bands" / "A_empty").mkdir()
    (eurosat / "bands" / ".hidden").mkdir()
    assert multiband(eurosat)._layout == "eurosat"
    with pytest.raises(DataMissingError, match=r"has no images in the layout 'ssl4eo'; expected PLACE/TIME/BAND.tif"):
        multiband(eurosat, layout="ssl4eo").spec()


def test_patches_without_labels_are_no_classes(bigearthnet: Path) -> None:
    for path in (bigearthnet / "bands").glob("*/*.json"):
        path.unlink()
    with pytest.raises(DataMissingError, match=r"S2A_0_labels_metadata.json: does not exist"):
        multiband(bigearthnet).spec()


def test_without_tifffile_the_message_says_what_to_install(eurosat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataMissingError, match=r"reading it needs tifffile; type: pip install 'bench-core\[raster\]'"):
        multiband(eurosat).spec()


def test_compression_that_needs_another_package_is_named(tmp_path: Path) -> None:
    """Without imagecodecs tifffile reads no LZW; with it, this file is read."""
    for name in ("a", "b"):
        path = tmp_path / "bands" / "land" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64), 5000, np.uint16)).save(path, compression="tiff_lzw")
    lists(tmp_path / "bands", ["a"], ["b"])
    if find_spec("imagecodecs"):
        assert set(images_of(multiband(tmp_path)).flatten().tolist()) == {0.5}
    else:
        with pytest.raises(DataMissingError, match=r"a.tif: .*LZW.*requires the 'imagecodecs' package"):
            multiband(tmp_path).spec()


@pytest.mark.parametrize("season", [-1, 1.5, "every"])
def test_season_is_a_number_or_all(season: Any) -> None:
    with pytest.raises(ConfigError, match="season must be"):
        build(MultibandConfig, {"season": season}, "multiband")


def test_it_is_registered() -> None:
    assert bench_datasets() == {"multiband": Multiband}
