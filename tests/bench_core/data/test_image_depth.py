"""Images whose header says 16 bits, made byte by byte, because Pillow writes no coloured ones."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench_core.data.image_depth import bits_of, brightest, has_sixteen_bits
from bench_core.data.image_pixels import decode_fractions, decode_square

Values = np.ndarray[Any, np.dtype[np.uint16]]


def png(values: Values, colour_key: tuple[int, ...] = ()) -> bytes:
    """Make a PNG of 16 bits: (H, W) is grey; (H, W, C) is grey with alpha, colour, or colour with alpha."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = (*values.shape, 1)[:3]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    key = chunk(b"tRNS", struct.pack(f">{len(colour_key)}H", *colour_key)) if colour_key else b""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + header + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: Values, order: str = "<", compressed: bool = False) -> bytes:
    """Make a TIFF of 16 bits, in one strip."""
    height, width, channels = (*values.shape, 1)[:3]
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compressed else data
    tags = {256: width, 257: height, 259: 8 if compressed else 1, 262: 2 if channels == 3 else 1, 277: channels}
    tags |= {278: height, 279: len(data), 284: 1}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4  # after the header and the directory come the bits, then the pixels
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    entries = {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items()}
    entries[258] = struct.pack(f"{order}HHI", 258, 3, channels)
    entries[258] += struct.pack(f"{order}I", start) if channels == 3 else bits.ljust(4, b"\0")
    entries[273] = struct.pack(f"{order}HHII", 273, 4, 1, start + len(bits))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + b"\0" * 4
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + directory + bits + data


def ppm(values: Values, largest: int = 65535) -> bytes:
    kind = b"P5" if values.ndim == 2 else b"P6"
    return kind + b" %d %d %d\n" % (values.shape[1], values.shape[0], largest) + values.astype(">u2").tobytes()


def values(*shape: int, below: int = 4096, seed: int = 0) -> Values:
    return np.random.RandomState(seed).randint(0, below, shape).astype(np.uint16)


GREY, COLOUR = values(6, 6), values(6, 6, 3)
WRITERS: dict[str, Callable[[Values], bytes]] = {
    "png": png, "tiff": tiff, "big-endian tiff": lambda v: tiff(v, ">"), "ppm": ppm,
    "compressed tiff": lambda v: tiff(v, "<", True), "compressed big-endian tiff": lambda v: tiff(v, ">", True),
}  # fmt: skip


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Values], str]:
    """Function that writes values as a file of 16 bits and returns its path."""

    def call(values: Values) -> str:
        (tmp_path / "x").write_bytes(WRITERS[request.param](values))
        return str(tmp_path / "x")

    return call


@pytest.mark.parametrize("colours", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("depth", [10, 12, 14])
def test_values_are_scaled_by_their_depth_and_larger_ones_are_white(
    write: Callable[[Values], str], colours: Values, depth: int
) -> None:
    expected = np.minimum(colours.astype(int) >> (depth - 8), 255)
    pixels = decode_square(write(colours), 6, False, depth).transpose(1, 2, 0)
    assert np.array_equal(pixels, np.broadcast_to(expected if colours.ndim == 3 else expected[..., None], (6, 6, 3)))


@pytest.mark.parametrize("colours", [GREY, COLOUR], ids=["grey", "colour"])
def test_depth_of_16_is_the_upper_byte(write: Callable[[Values], str], colours: Values) -> None:
    pixels = decode_square(write(colours * 16), 6, False, 16).transpose(1, 2, 0)
    expected = colours >> 4
    difference = pixels.astype(int) - (expected if colours.ndim == 3 else expected[..., None])
    assert np.abs(difference).max() <= 1  # Pillow rounds the values of a PPM, and cuts all others


@pytest.mark.parametrize("colours", [GREY, COLOUR], ids=["grey", "colour"])
def test_brightest_value_is_exact(write: Callable[[Values], str], colours: Values) -> None:
    assert brightest(write(colours)) == colours.max()


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + b"\0" * 16 + b"\x10", png(COLOUR)[:90], b"II*\0", b"P6 x"]
)
def test_damaged_file_has_no_brightest_value(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert brightest(str(tmp_path / "x")) is None


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_of_8_bits_have_no_brightest_value_and_ignore_the_depth(tmp_path: Path, kind: str, mode: str) -> None:
    Image.new(mode, (4, 4), 200 if mode == "L" else (200, 200, 200)).save(tmp_path / "x", kind)
    assert brightest(str(tmp_path / "x")) is None
    assert (decode_square(str(tmp_path / "x"), 4, True, 8) == 200).all()


@pytest.mark.parametrize("colours", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("depth", [10, 12, 16])
def test_fractions_keep_every_value_and_larger_ones_are_white(
    write: Callable[[Values], str], colours: Values, depth: int
) -> None:
    expected = np.minimum(colours / (2**depth - 1), 1)
    pixels = decode_fractions(write(colours), 6, False, depth)
    assert pixels.dtype == np.float32
    expected = np.broadcast_to(expected if colours.ndim == 3 else expected[..., None], (6, 6, 3))
    assert pixels.transpose(1, 2, 0) == pytest.approx(expected, abs=1e-7)


def test_fractions_of_16_bits_by_hand(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(png(np.array([[0, 1], [32768, 65535]], np.uint16)))
    expected = [[0, 1 / 65535], [32768 / 65535, 1]]
    assert decode_fractions(str(tmp_path / "x"), 2, True, 16)[0] == pytest.approx(np.array(expected), abs=1e-9)
    assert decode_square(str(tmp_path / "x"), 2, True, 16)[0].tolist() == [[0, 0], [128, 255]]


def test_fractions_are_composed_on_white_and_grey_is_luma(tmp_path: Path) -> None:
    image = np.zeros((2, 2, 4), np.uint16)
    image[..., 0], image[..., 3] = 30000, [[65535, 0], [32896, 65535]]  # red; opaque, transparent, and half
    (tmp_path / "x").write_bytes(png(image))
    red = decode_fractions(str(tmp_path / "x"), 2, False, 16)
    half = 128 / 255
    value = 30000 / 65535
    assert red[0] == pytest.approx(np.array([[value, 1], [value * half + 1 - half, value]]), abs=1e-6)
    assert red[1] == pytest.approx(np.array([[0, 1], [1 - half, 0]]), abs=1e-6)
    grey = decode_fractions(str(tmp_path / "x"), 2, True, 16)
    assert grey[0, 0, 0] == pytest.approx(0.299 * value, abs=1e-6)


def test_alpha_is_neither_measured_nor_scaled(tmp_path: Path) -> None:
    image = np.full((4, 4, 4), 1023, np.uint16)
    image[..., 3] = 65535
    image[0, 0] = 0
    (tmp_path / "x").write_bytes(png(image))
    assert brightest(str(tmp_path / "x")) == 1023
    pixels = decode_square(str(tmp_path / "x"), 4, False, 10)
    assert (pixels == 255).all()  # the brightest of 10 bits, and one transparent pixel on white
    image[..., 3] = 65535
    (tmp_path / "x").write_bytes(png(image))
    assert decode_square(str(tmp_path / "x"), 4, False, 10)[:, 0, 0].tolist() == [0, 0, 0]


def test_grey_with_alpha_is_scaled_too(tmp_path: Path) -> None:
    image = np.full((4, 4, 2), 65535, np.uint16)
    image[..., 0] = np.arange(16).reshape(4, 4) << 8
    (tmp_path / "x").write_bytes(png(image))
    assert decode_square(str(tmp_path / "x"), 4, True, 12)[0].tolist() == (np.arange(16).reshape(4, 4) << 4).tolist()


@pytest.mark.parametrize("depth", [12, 16])
def test_only_the_very_colour_that_is_declared_transparent_is_white(tmp_path: Path, depth: int) -> None:
    image = np.zeros((4, 4, 3), np.uint16)
    image[0, 0], image[0, 1] = (1, 2, 3), (1, 2, 4)
    (tmp_path / "x").write_bytes(png(image, (1, 2, 3)))
    pixels = decode_square(str(tmp_path / "x"), 4, False, depth)
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 0, 1].tolist() == [0, 0, 0]
    (tmp_path / "x").write_bytes(png(image[..., 0], (1,)))
    assert (decode_square(str(tmp_path / "x"), 4, True, depth)[0] > 0).tolist() == (image[..., 0] == 1).tolist()


def test_a_pgm_of_fewer_bits_is_scaled_by_its_own_largest_value(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(ppm(np.full((4, 4), 1023, np.uint16), 1023))
    assert (decode_square(str(tmp_path / "x"), 4, True, 16) == 255).all()
    assert brightest(str(tmp_path / "x")) == 65535


def test_a_camera_turns_images_of_16_bits_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    ramp = np.arange(16, dtype=np.uint16).reshape(4, 4) << 8
    for name in ("x.png", "x.tiff"):
        Image.fromarray(ramp).save(tmp_path / name, exif=exif)
        assert np.array_equal(decode_square(str(tmp_path / name), 4, True, 16)[0], ramp[::-1, ::-1] >> 8), name


@pytest.mark.parametrize(
    ("value", "bits"), [(0, 8), (255, 8), (256, 9), (1023, 10), (1024, 11), (4095, 12), (65535, 16)]
)
def test_bits_of_a_value(value: int, bits: int) -> None:
    assert bits_of(value) == bits


def test_floats_and_32_bits_are_not_16_bits(tmp_path: Path) -> None:
    for mode in ("I", "F", "RGB", "L"):
        Image.new(mode, (2, 2)).save(tmp_path / "x.tiff")
        with Image.open(tmp_path / "x.tiff") as image:
            assert not has_sixteen_bits(image), mode
