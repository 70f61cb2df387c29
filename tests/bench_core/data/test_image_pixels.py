"""Decoding of one image: orientation, transparency, crop, size, and what is refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

from bench_core.data.image_pixels import decode_fractions, decode_square, decoder_version

ORIENTATION = 0x0112


def save(path: Path, image: Image.Image, **options: Any) -> str:
    image.save(path, **options)
    return str(path)


def grid(height: int = 4, width: int = 4) -> Image.Image:
    """Image whose pixels all differ."""
    return Image.fromarray(np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3))


def rgb(path: str, size: int = 4) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return decode_square(path, size, False, 16).transpose(1, 2, 0)


def test_images_of_the_right_size_keep_their_pixels(tmp_path: Path) -> None:
    assert np.array_equal(rgb(save(tmp_path / "a.png", grid())), np.asarray(grid()))


def test_decoding_to_one_channel_gives_luma(tmp_path: Path) -> None:
    red = save(tmp_path / "red.png", Image.new("RGB", (4, 4), (255, 0, 0)))
    assert decode_square(red, 4, True, 16).tolist() == np.full((1, 4, 4), 76).tolist()


def test_centre_square_of_a_wide_image_is_kept(tmp_path: Path) -> None:
    wide = Image.new("RGB", (12, 4), (0, 0, 0))
    wide.paste((200, 100, 50), (4, 0, 8, 4))
    out = decode_square(save(tmp_path / "wide.png", wide), 4, False, 16)
    assert out.tolist() == [np.full((4, 4), v).tolist() for v in (200, 100, 50)]


def test_square_of_an_image_with_one_row_or_column_too_many_lies_on_whole_pixels(tmp_path: Path) -> None:
    assert np.array_equal(rgb(save(tmp_path / "a.png", grid(4, 5))), np.asarray(grid(4, 5))[:, :4])
    assert np.array_equal(rgb(save(tmp_path / "b.png", grid(7, 4))), np.asarray(grid(7, 4))[1:5])


@pytest.mark.parametrize("size", [(32, 16), (16, 48), (40, 40), (4, 8)])
def test_decoding_equals_resize_and_centre_crop_of_torchvision(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 3), np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(pixels))
    with Image.open(path) as image:
        expected = pil_to_tensor(center_crop(resize(image, [8]), [8]))
    assert torch.equal(torch.from_numpy(decode_square(path, 8, False, 16).copy()), expected)


TURNED = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_orientation_of_the_camera_is_applied_once(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if kind == "webp" else {}
    path = save(tmp_path / f"a.{kind}", grid(), exif=exif, **options)
    assert np.array_equal(rgb(path), TURNED[orientation](np.asarray(grid())))


@pytest.mark.parametrize("orientation", TURNED)
def test_orientation_of_a_jpeg_is_applied_before_the_crop(tmp_path: Path, orientation: int) -> None:
    image = Image.new("RGB", (48, 16), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 24, 16))  # the left half is white
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    bright = rgb(save(tmp_path / "a.jpg", image, exif=exif, quality=95), 16) > 128
    expected = TURNED[orientation](np.pad(np.full((16, 8, 3), True), ((0, 0), (0, 8), (0, 0))))
    assert (bright == expected).mean() > 0.9


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0" * 40])
def test_image_with_damaged_exif_is_decoded_as_it_lies(tmp_path: Path, exif: bytes) -> None:
    assert np.array_equal(rgb(save(tmp_path / "a.png", grid(), exif=exif)), np.asarray(grid()))


def test_orientation_out_of_range_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    assert np.array_equal(rgb(save(tmp_path / "a.png", grid(), exif=exif)), np.asarray(grid()))


def palette(alpha: bytes | int) -> tuple[Image.Image, dict[str, Any]]:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 100, 50, 0])
    return image, {"transparency": alpha}


TRANSPARENT: dict[str, tuple[Image.Image, dict[str, Any]]] = {
    "RGBA": (Image.new("RGBA", (4, 4), (100, 50, 0, 0)), {}),
    "grey with alpha": (Image.new("LA", (4, 4), (100, 0)), {}),
    "one colour of a palette": palette(1), "a list for a palette": palette(b"\xff\0"),
    "a colour": (Image.new("RGB", (4, 4), (100, 50, 0)), {"transparency": (100, 50, 0)}),
    "a shade of grey": (Image.new("L", (4, 4), 100), {"transparency": 100}),
    "black of one bit": (Image.new("1", (4, 4), 0), {"transparency": 0}),
}  # fmt: skip


@pytest.mark.parametrize(("image", "options"), TRANSPARENT.values(), ids=TRANSPARENT)
@pytest.mark.parametrize("grey", [False, True])
def test_transparent_pixels_are_white_whatever_lies_under_them(
    tmp_path: Path, image: Image.Image, options: dict[str, Any], grey: bool
) -> None:
    path = save(tmp_path / "a.png", image, **options)
    assert (decode_square(path, 4, grey, 16) == 255).all()


def test_half_transparent_pixel_is_halfway_to_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (4, 4), (100, 50, 0, 128))
    assert rgb(save(tmp_path / "a.png", half))[0, 0].tolist() == [177, 152, 127]


def test_opaque_images_with_alpha_keep_their_pixels(tmp_path: Path) -> None:
    image = grid().convert("RGBA")
    assert np.array_equal(rgb(save(tmp_path / "a.png", image)), np.asarray(grid()))
    shades = Image.fromarray(np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)).convert("LA")
    for grey in (False, True):
        pixels = decode_square(save(tmp_path / "b.png", shades), 4, grey, 16)
        assert (pixels == np.arange(0, 256, 16).reshape(4, 4)).all()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("image", "options"),
    [
        (grid(30, 20), {}),
        (grid(30, 20), {"exif": turned()}),
        (Image.fromarray(np.arange(0, 250, dtype=np.uint8).reshape(10, 25)), {}),
        (Image.new("RGBA", (9, 4), (100, 50, 0, 128)), {}),
    ],
    ids=["colour", "turned", "grey", "half transparent"],
)
def test_fractions_are_the_pixels_without_rounding(
    tmp_path: Path, image: Image.Image, options: dict[str, Any], grey: bool
) -> None:
    """Beside Pillow on bytes, whose rounding of crop, luma and transparency moves a value by two levels at most."""
    path = save(tmp_path / "a.png", image, **options)
    for size in (4, 7):
        pixels, fractions = decode_square(path, size, grey, 16), decode_fractions(path, size, grey, 16)
        assert fractions.shape == pixels.shape
        assert fractions.dtype == np.float32
        assert np.abs(fractions * 255 - pixels).max() < 2


def test_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("P", (4, 4), k) for k in (0, 1)]
    frames[0].putpalette([10, 20, 30, 200, 200, 200])
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert rgb(path)[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_images_of_32_bits_are_refused(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.tiff", Image.new(mode, (4, 4)))
    for decode in (decode_square, decode_fractions):
        with pytest.raises(OSError, match="no known range; save it with 8 or 16 bits"):
            decode(path, 4, False, 16)


def test_image_of_too_many_pixels_is_refused_by_its_header_even_if_pillow_was_told_to_open_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_400, 13_400, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(OSError, match="13400 x 13400 pixels are more"):
        decode_square(str(tmp_path / "a.png"), 4, False, 16)


def test_version_of_the_decoder_names_pillow_its_libraries_and_our_rules() -> None:
    version = decoder_version()
    for part in (f"pillow {PIL.__version__}", "rules ", "libjpeg-turbo ", "webp ", "tiff "):
        assert part in version


def test_jpeg_has_the_pixels_that_it_always_had(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    grid(32, 32).save(buffer, "JPEG", quality=75)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    with Image.open(buffer) as image:
        assert np.array_equal(rgb(str(tmp_path / "a.jpg"), 32), np.asarray(image.convert("RGB")))


def photograph(path: Path, size: tuple[int, int] = (160, 120), suffix: str = "jpg", **options: Any) -> str:
    """Save a smooth image, as photographs are."""
    coarse = np.random.RandomState(0).randint(0, 256, (6, 8, 3), np.uint8)
    return save(path / f"photo.{suffix}", Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), **options)


def test_scaled_jpeg_is_decoded_from_fewer_pixels_and_looks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, loaded = photograph(tmp_path, quality=95), list[tuple[int, int]]()
    load = JpegImageFile.load

    def note(image: JpegImageFile) -> Any:
        loaded.append(image.size)
        return load(image)

    exact = decode_square(path, 14, False, 16).astype(int)
    monkeypatch.setattr(JpegImageFile, "load", note)
    scaled = decode_square(path, 14, False, 16, scaled=True).astype(int)
    assert set(loaded) == {(40, 30)}  # a quarter: not less than twice 14
    assert 0 < np.abs(exact - scaled).max() <= 6
    assert np.abs(exact - scaled).mean() < 1.5


def test_scaling_keeps_orientation_and_mode(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    path = photograph(tmp_path, quality=95, exif=turned)
    exact, scaled = (decode_square(path, 14, True, 16, scaled=flag).astype(int) for flag in (False, True))
    assert exact.shape == (1, 14, 14)
    assert np.abs(exact - scaled).max() <= 6


@pytest.mark.parametrize(("suffix", "size"), [("png", 14), ("jpg", 61)])
def test_other_formats_and_small_files_are_never_scaled(tmp_path: Path, suffix: str, size: int) -> None:
    path = photograph(tmp_path, suffix=suffix)
    assert np.array_equal(decode_square(path, size, False, 16), decode_square(path, size, False, 16, scaled=True))
