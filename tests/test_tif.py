import importlib.util
import os
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import write_patient
from PIL import Image

from course_lib.data import find_patients, page, read_patient, tif
from course_lib.errors import CourseError, DataError

FIRST = "TEST_AA_0001_20000101"


def test_a_patient_is_read_as_the_files_have_it(tif_folder):
    patient = read_patient(tif_folder / FIRST)
    assert patient.image.shape == (6, 48, 40, 3)
    assert patient.image.dtype == np.uint8
    assert patient.target.shape == (6, 48, 40)
    assert patient.target.sum(axis=(1, 2)).tolist() == [0, 100, 100, 100, 100, 0]   # 10·10 pixels


def test_masks_are_not_needed_where_nobody_asks_for_them(tif_folder):
    for path in (tif_folder / FIRST).glob("*_mask.tif"):
        path.unlink()
    assert read_patient(tif_folder / FIRST, with_target=False).target is None


@pytest.mark.parametrize("inner", ["kaggle_3m", "lgg-mri-segmentation/kaggle_3m"])
def test_in_the_kaggle_archive_each_patient_counts_once(tif_folder, tmp_path, inner):
    shutil.copytree(tif_folder, tmp_path / "archive" / inner)
    shutil.copytree(tif_folder, tmp_path / "archive" / "lgg-mri-segmentation" / "kaggle_3m",
                    dirs_exist_ok=True)
    found = find_patients(tmp_path / "archive")
    assert [path.name for path in found] == sorted(path.name for path in tif_folder.iterdir())
    assert {path.parent for path in found} == {tmp_path / "archive" / inner}


def test_one_patients_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: no images named"):
        read_patient(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "empty").mkdir(),
                                  lambda folder: (folder / "data.csv").write_text("")])
def test_a_folder_without_patients_is_refused(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DataError, match="no patient in it.*Point to the folder that holds"):
        find_patients(tmp_path)


def test_pointing_at_one_patient_instead_of_all_is_refused(tif_folder):
    with pytest.raises(DataError, match="Point to the folder that holds one folder per patient, "
                                        f"{re.escape(str(tif_folder))}"):
        find_patients(tif_folder / FIRST)


def slice_file(folder: Path, number: int = 3, mask: bool = False) -> Path:
    return folder / f"{folder.name}_{number}{'_mask' if mask else ''}.tif"


def copy_patient(folder: Path, name: str) -> Path:
    """The same patient once more, under another name."""
    copy = folder.parent / name
    copy.mkdir()
    for path in folder.iterdir():
        shutil.copy(path, copy / path.name.replace(folder.name, name))
    return copy


def change(path: Path, function) -> None:
    array = function(tifffile.imread(path))
    tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack")


def damage(path: Path) -> None:
    """Compress a file and flip a byte in the middle of its pixels."""
    tifffile.imwrite(path, tifffile.imread(path), photometric="rgb", compression="zlib")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def claim(path: Path, width: int, height: int) -> None:
    """Give a file a header of another size."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["ImageWidth"].overwrite(width)
        file.pages.first.tags["ImageLength"].overwrite(height)


def claim_tile(path: Path, side: int) -> None:
    """Give a tiled file a header of larger tiles."""
    tifffile.imwrite(path, tifffile.imread(path), photometric="rgb", tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["TileWidth"].overwrite(side)
        file.pages.first.tags["TileLength"].overwrite(side)


def lead_back(path: Path) -> None:
    """Let a file's only page name itself as the page that follows."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
    content = bytearray(path.read_bytes())
    following = page.offset + 2 + 12 * len(page.tags)
    content[following:following + 4] = page.offset.to_bytes(4, "little")
    path.write_bytes(content)


def store(path: Path, pixels: bytes, *, bits: int = 8, photometric: int = 1, more: tuple = (),
          colormap: tuple = ()) -> None:
    """Write a grey file of 48 by 40 pixels by hand: what tifffile itself does not write.

    Args:
        pixels: as stored.
        photometric: 0 is MinIsWhite, 1 MinIsBlack, 3 a palette.
        more: tags (code, type, count, value).
        colormap: red, green and blue of all colours, 16 bits each.
    """
    tags = [(256, 3, 1, 40), (257, 3, 1, 48), (258, 3, 1, bits), (259, 3, 1, 1),
            (262, 3, 1, photometric), (277, 3, 1, 1), (278, 3, 1, 48), (279, 4, 1, len(pixels)),
            *more]
    start = 8 + 2 + 12 * (len(tags) + 1 + bool(colormap)) + 4
    tags.append((273, 4, 1, start))
    if colormap:
        tags.append((320, 3, len(colormap), start + len(pixels)))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + pixels
                     + struct.pack(f"<{len(colormap)}H", *colormap))


def grey_border(mask: np.ndarray) -> np.ndarray:
    mask[0, 0] = 128
    return mask


BROKEN = {
    "a missing mask": (
        lambda folder: slice_file(folder, mask=True).unlink(),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask is missing. Every <name>.tif needs its "),
    "a mask without image": (
        lambda folder: slice_file(folder).unlink(),
        f"{FIRST}/{FIRST}_3_mask.tif: a mask without an image. Every <name>.tif needs its"),
    "a mask of 0, 128, 255": (
        lambda folder: change(slice_file(folder, mask=True), grey_border),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask has values [0, 128, 255], expected two "
        "(0 and 1, or 0 and 255). Save it without anti-aliasing"),
    "a mask of 0, 1 among those of 0, 255": (
        lambda folder: change(slice_file(folder, mask=True), lambda mask: mask // 255),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask has values [0, 1], the others [0, 255]"),
    "an image of another size": (
        lambda folder: change(slice_file(folder), lambda image: image[:-1]),
        f"{FIRST}/{FIRST}_3.tif: has shape (47, 40, 3), the first slice (48, 40, 3), expected"),
    "a mask of another size": (
        lambda folder: change(slice_file(folder, mask=True), lambda mask: mask[:, :-2]),
        f"{FIRST}/{FIRST}_3_mask.tif: has shape (48, 38)"),
    "images without channels": (
        lambda folder: [change(slice_file(folder, n), lambda image: image[..., 0])
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: has shape (48, 40), the first slice (48, 40), expected (H, W, 3)"),
    "images of four channels": (
        lambda folder: [change(slice_file(folder, n), lambda image: image[..., [0, 1, 2, 2]])
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: has 4 channels, of which 1 are transparency"),
    "masks in colour": (
        lambda folder: [change(slice_file(folder, n, True),
                               lambda mask: np.dstack([mask, 0 * mask + 7, mask]))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1_mask.tif: the mask is in colour (and 5 more: data.verify("),
    "a truncated tif": (
        lambda folder: slice_file(folder).write_bytes(slice_file(folder).read_bytes()[:900]),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif"),
    "a file that is no tif": (
        lambda folder: slice_file(folder).write_bytes(b"hello"),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif"),
    "a damaged tif": (
        lambda folder: damage(slice_file(folder)),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif"),
    "a tif of several pages": (
        lambda folder: tifffile.imwrite(slice_file(folder), np.zeros((2, 48, 40, 3), np.uint8),
                                        photometric="rgb"),
        f"{FIRST}/{FIRST}_3.tif: holds 2 pages, and which one is the slice is not known. Save one "
        "page per file"),
    "a tif that says it is huge": (
        lambda folder: claim(slice_file(folder), width=60000, height=60000),
        f"{FIRST}/{FIRST}_3.tif: its header claims 10,800,000,000 bytes of pixels in a file of "),
    "a mask that is a folder": (
        lambda folder: [slice_file(folder, mask=True).unlink(),
                        slice_file(folder, mask=True).mkdir()],
        f"{FIRST}/{FIRST}_3_mask.tif: "),
    "slices of two types": (
        lambda folder: change(slice_file(folder), lambda image: image.astype(np.uint16) * 257),
        f"{FIRST}/{FIRST}_3.tif: is uint16, the first slice uint8"),
    "an empty file": (
        lambda folder: slice_file(folder, mask=True).write_bytes(b""),
        f"{FIRST}/{FIRST}_3_mask.tif: cannot be read as tif"),
    "a slice that is there twice": (
        lambda folder: shutil.copy(slice_file(folder), folder / f"{FIRST}_03.tif"),
        "has the same slice number as "),
    "a slice of another scan": (
        lambda folder: shutil.copy(slice_file(folder), folder / "TEST_B_2_7.tif"),
        f"{FIRST}/TEST_B_2_7.tif: belongs to TEST_B_2, the other files to {FIRST}. Give each "
        "patient a folder: one folder per patient"),
    "negative intensities": (
        lambda folder: [change(slice_file(folder, n), lambda image: image.astype(np.int16) - 9)
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: intensities are negative, down to -9, and 0 is taken for"),
    "complex numbers": (
        lambda folder: [change(slice_file(folder, n), lambda image: image.astype(np.complex64))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: the image is complex64"),
    "intensities beyond all measure": (
        lambda folder: [change(slice_file(folder, n), lambda image: image * 1e200)
                        for n in range(1, 7)],
        f"{FIRST}: the brightest voxel is "),
    "colours that are not RGB": (
        lambda folder: Image.fromarray(tifffile.imread(slice_file(folder))).convert("YCbCr").save(
            slice_file(folder)),
        f"{FIRST}/{FIRST}_3.tif: has colours of the kind YCBCR. Save it in grey or RGB"),
    "colours for print": (
        lambda folder: Image.fromarray(tifffile.imread(slice_file(folder))).convert("CMYK").save(
            slice_file(folder)),
        f"{FIRST}/{FIRST}_3.tif: has colours of the kind SEPARATED (CMYK). Save it in grey or RGB"),
    "a compression that is not known": (
        lambda folder: Image.fromarray(tifffile.imread(slice_file(folder))).save(
            slice_file(folder), compression="tiff_lzw"),
        "Run `pip install imagecodecs`"),
    "a picture stored upside down": (
        lambda folder: tifffile.imwrite(slice_file(folder), tifffile.imread(slice_file(folder)),
                                        photometric="rgb", extratags=[(274, "H", 1, 3, True)]),
        f"{FIRST}/{FIRST}_3.tif: is stored turned or mirrored (orientation 3). Save it upright"),
    "palette masks in colour": (
        lambda folder: tifffile.imwrite(slice_file(folder, mask=True), np.eye(48, 40, dtype="u1"),
                                        photometric="palette", colormap=colours(0, 65535, 0)),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask is in colour. Save it in grey"),
    "a mask with NaN": (
        lambda folder: [change(slice_file(folder, n, True), lambda mask: mask / np.float32(0))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1_mask.tif: the mask holds NaN or infinity"),
    "a mask of complex numbers": (
        lambda folder: change(slice_file(folder, mask=True), lambda mask: mask * 1j),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask is complex128. Save it as uint8"),
    "masks of -1": (
        lambda folder: [change(slice_file(folder, n, True), lambda mask: mask.astype(np.int8))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_2_mask.tif: the mask has values [-1, 0], expected two"),
    "masks as numpy's bool arrays": (
        lambda folder: [tifffile.imwrite(slice_file(folder, n, True), np.eye(48, 40) > 0)
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1_mask.tif: is stored as MinIsWhite, and its border is white in every "
        "viewer (and 5 more: "),
    "infinity": (
        lambda folder: [change(slice_file(folder, n), lambda image: (image * 1e4).astype("f2"))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: the image holds NaN or infinity"),
    "int8 with values below 0": (
        lambda folder: [change(slice_file(folder, n), lambda image: (image - 90.0).astype("i1"))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: intensities are negative, down to -90"),
    "uint64 beyond all measure": (
        lambda folder: [change(slice_file(folder, n), lambda image: image * np.uint64(10**16))
                        for n in range(1, 7)],
        f"{FIRST}: the brightest voxel is "),
    "intensities too faint to tell apart": (
        lambda folder: [change(slice_file(folder, n), lambda image: image * 1e-30)
                        for n in range(1, 7)],
        f"{FIRST}: the brightest voxel is "),
    "CIELab": (
        lambda folder: Image.fromarray(tifffile.imread(slice_file(folder))).convert("LAB").save(
            slice_file(folder)),
        f"{FIRST}/{FIRST}_3.tif: has colours of the kind CIELAB. Save it in grey or RGB"),
    "a chain of pages without end": (
        lambda folder: lead_back(slice_file(folder)),
        f"{FIRST}/{FIRST}_3.tif: holds 100 pages"),
    "an image that is partly transparent": (
        lambda folder: tifffile.imwrite(slice_file(folder), tifffile.imread(slice_file(folder))[
            ..., [0, 1, 2, 0]], photometric="rgb", extrasamples=["unassalpha"]),
        f"{FIRST}/{FIRST}_3.tif: has 4 channels, of which 1 are transparency"),
    "a fourth sequence": (
        lambda folder: [tifffile.imwrite(path, tifffile.imread(path)[..., [0, 1, 2, 2]],
                                         photometric="rgb", extrasamples=["unspecified"])
                        for path in (slice_file(folder, n) for n in range(1, 7))],
        f"{FIRST}/{FIRST}_1.tif: has shape (48, 40, 4)"),
    "a tile that is huge": (
        lambda folder: claim_tile(slice_file(folder), 32768),
        f"{FIRST}/{FIRST}_3.tif: its header claims 3,221,225,472 bytes"),
    "more bytes than its pixels take": (
        lambda folder: store(slice_file(folder), bytes(20_000)),
        f"{FIRST}/{FIRST}_3.tif: stores 20,000 bytes for 1,920 bytes of pixels"),
    "four bits": (
        lambda folder: store(slice_file(folder), bytes(960), bits=4),
        "Run `pip install imagecodecs`"),
    "a broken link": (
        lambda folder: [slice_file(folder).unlink(), slice_file(folder).symlink_to("nowhere")],
        f"{FIRST}/{FIRST}_3.tif: cannot be read ("),
    "a link to a device": (
        lambda folder: [slice_file(folder).unlink(), slice_file(folder).symlink_to(os.devnull)],
        "is no regular file"),
    "an image with NaN": (
        lambda folder: [change(slice_file(folder, n), lambda image: image / np.float32(0))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: the image holds NaN or infinity (and 5 more: data.verify("),
    "images of zeros": (
        lambda folder: [change(slice_file(folder, n), np.zeros_like) for n in range(1, 7)],
        f"{FIRST}: all voxels of 6 slices are zero. Leave this patient out"),
    "only two slices": (
        lambda folder: [slice_file(folder, n, mask).unlink() for n in (1, 2, 3, 4)
                        for mask in (True, False)],
        f"{FIRST}: nothing is left of 2 slices"),
    "masks only": (
        lambda folder: [slice_file(folder, n).unlink() for n in range(1, 7)],
        f"{FIRST}: no images named …_<slice number>.tif. Point to a folder with one patient's"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning:test_tif")       # one case divides by zero
@pytest.mark.parametrize("case", [case for case in BROKEN if case != "only two slices"])
def test_a_bad_patient_is_refused_with_file_and_cure(tif_folder, case):
    spoil, words = BROKEN[case]
    spoil(tif_folder / FIRST)
    with pytest.raises(DataError, match=re.escape(words)):
        read_patient(tif_folder / FIRST)


def test_all_problems_of_a_patient_are_found_in_one_pass(tif_folder):
    slice_file(tif_folder / FIRST, 2).write_bytes(b"")
    slice_file(tif_folder / FIRST, 4, mask=True).unlink()
    change(slice_file(tif_folder / FIRST, 5, mask=True), grey_border)
    patient, problems = tif.examine(tif_folder / FIRST)
    assert patient is None
    assert {problem.where: problem.what.split(" (")[0].split(" [")[0] for problem in problems} == {
        f"{FIRST}/{FIRST}_2.tif": "cannot be read as tif",
        f"{FIRST}/{FIRST}_4_mask.tif": "the mask is missing",
        f"{FIRST}/{FIRST}_5_mask.tif": "the mask has values"}


def test_a_gap_in_the_slice_numbers_is_told_and_does_not_stop(tif_folder):
    for mask in (False, True):
        slice_file(tif_folder / FIRST, 3, mask).unlink()
    patient, problems = tif.examine(tif_folder / FIRST)
    assert patient.slices == [1, 2, 4, 5, 6]
    assert [(problem.what, problem.fatal) for problem in problems] == [
        ("slice numbers [3] are missing between 1 and 6", False)]


@pytest.mark.parametrize("kind", [np.float32, np.uint16, np.int64])
def test_masks_of_other_types_come_back_as_uint8(tif_folder, kind):
    expected = read_patient(tif_folder / FIRST).target
    for path in (tif_folder / FIRST).glob("*_mask.tif"):
        change(path, lambda mask: (mask // 255).astype(kind))
    target = read_patient(tif_folder / FIRST).target
    assert target.dtype == np.uint8
    np.testing.assert_array_equal(target, expected)


def test_endings_in_capitals_count_and_other_files_do_not(tif_folder):
    for path in (tif_folder / FIRST).iterdir():
        path.rename(path.with_suffix(".TIF"))
    other = tif_folder / "other"
    other.mkdir()
    for name in ("a_1.tif.bak", "._a_1.tif"):
        (other / name).write_bytes(b"")
    found = find_patients(tif_folder)
    assert [path.name for path in found].count(FIRST) == 1
    assert other not in found
    assert len(read_patient(tif_folder / FIRST).slices) == 6


def test_only_the_same_content_has_the_same_checksum_and_one_value_is_named(tif_folder):
    one, other = (read_patient(folder) for folder in find_patients(tif_folder)[:2])
    parts = tif.digests(one)
    assert list(parts["image"]) == one.files == [f"{FIRST}_{n}.tif" for n in range(1, 7)]
    assert parts["target"][f"{FIRST}_1_mask.tif"] == "all 0"
    everything = [*parts["image"].values(), *tif.digests(other)["image"].values()]
    assert len(set(everything)) == 6 + 5
    for same in (one.image.astype(np.uint16), one.image / 1, np.asfortranarray(one.image)):
        assert tif.digests(replace(one, image=same)) == parts
    assert tif.digests(replace(one, image=one.image * np.uint16(257)))["image"] != parts["image"]
    turned = replace(one, image=one.image.swapaxes(1, 2).reshape(one.image.shape))
    assert not set(tif.digests(turned)["image"].values()) & set(everything)
    assert tif.digests(replace(one, target=None))["target"] == {}
    one.image[0, 0, 0, 0] ^= 1
    assert tif.digests(one)["image"][f"{FIRST}_1.tif"] not in everything


# --- as every viewer shows it ---

def colours(*third):
    """A palette: 0 is black, 1 is this colour; 16 bits."""
    table = np.zeros((3, 256), np.uint16)
    table[:, 1] = third
    return table


def as_min_is_white(array):
    return {"data": np.iinfo(array.dtype).max - array, "photometric": "miniswhite"}


WHITE_IS_0 = np.zeros((3, 256), np.uint16)
WHITE_IS_0[:, 0] = 65535
SAME_MASK = {
    "one bit, MinIsWhite": lambda mask: {"data": mask == 0, "photometric": "miniswhite"},
    "eight bits, MinIsWhite": as_min_is_white,
    "sixteen bits, MinIsWhite": lambda mask: as_min_is_white(mask.astype(np.uint16) * 257),
    "a palette in which 0 is white": lambda mask: {
        "data": (mask == 0).astype(np.uint8), "photometric": "palette", "colormap": WHITE_IS_0},
    "0 and 65535": lambda mask: {"data": mask.astype(np.uint16) * 257},
    "one bit": lambda mask: {"data": mask > 0},
    "grey saved as RGB": lambda mask: {"data": np.dstack([mask] * 3), "photometric": "rgb"},
    "grey with an even alpha": lambda mask: {
        "data": np.dstack([mask, 0 * mask + 255]), "photometric": "minisblack",
        "planarconfig": "contig", "extrasamples": ["unassalpha"]},
    "RGBA of equal channels": lambda mask: {
        "data": np.dstack([mask, mask, mask, 0 * mask + 255]), "photometric": "rgb",
        "extrasamples": ["unassalpha"]},
    "a palette of grey": lambda mask: {
        "data": mask // 255, "photometric": "palette", "colormap": colours(65535, 65535, 65535)},
    "a palette whose colours have 8 bits": lambda mask: {
        "data": mask // 255, "photometric": "palette", "colormap": colours(255, 255, 255)},
    "a large tile": lambda mask: {"data": mask, "tile": (256, 256)},
    "int8, up to its largest": lambda mask: {"data": (mask // 2).astype(np.int8)},
    "int16 of 0 and 255": lambda mask: {"data": mask.astype(np.int16)},
    "floats of 0 and 1": lambda mask: {"data": (mask > 0).astype(np.float32)},
    "BigTIFF": lambda mask: {"data": mask, "bigtiff": True}}


@pytest.mark.parametrize("how", SAME_MASK)
def test_masks_are_read_as_viewers_show_them(tif_folder, how):
    expected = read_patient(tif_folder / FIRST).target
    for path in (tif_folder / FIRST).glob("*_mask.tif"):
        facts = SAME_MASK[how](tifffile.imread(path))
        big = facts.pop("bigtiff", False)
        with tifffile.TiffWriter(path, bigtiff=big) as file:
            file.write(**{"photometric": "minisblack"} | facts)
    np.testing.assert_array_equal(read_patient(tif_folder / FIRST).target, expected)


def packed(mask, order="big"):
    return np.packbits(mask > 0, axis=1, bitorder=order).tobytes()


STORED_MASK = {
    "one bit, white is 0": lambda path, mask: store(path, packed(mask == 0), bits=1, photometric=0),
    "one bit, lowest first": lambda path, mask: store(
        path, packed(mask, "little"), bits=1, more=((266, 3, 1, 2),)),
    "one bit of a palette": lambda path, mask: store(
        path, packed(mask == 0), bits=1, photometric=3, colormap=(65535, 0) * 3)}


@pytest.mark.parametrize("how", STORED_MASK)
def test_masks_of_single_bits_are_read_as_viewers_show_them(tif_folder, how):
    expected = read_patient(tif_folder / FIRST).target
    for path in (tif_folder / FIRST).glob("*_mask.tif"):
        STORED_MASK[how](path, tifffile.imread(path))
    np.testing.assert_array_equal(read_patient(tif_folder / FIRST).target, expected)


def write_pages(path, *pages):
    """Write pages of (array, kind of page): 0 full, 1 a reduced copy, 4 transparency."""
    with tifffile.TiffWriter(path) as file:
        for array, kind in pages:
            file.write(array, photometric="rgb" if array.ndim == 3 else "minisblack",
                       subfiletype=kind)


SAME_IMAGE = {
    "separate planes": lambda path, image: tifffile.imwrite(
        path, np.moveaxis(image, -1, 0).copy(), photometric="rgb", planarconfig="separate"),
    "an opaque alpha": lambda path, image: tifffile.imwrite(
        path, np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), photometric="rgb",
        extrasamples=["unassalpha"]),
    "a thumbnail beside it": lambda path, image: write_pages(
        path, (image, 0), (image[::4, ::4], 1)),
    "a thumbnail before it": lambda path, image: write_pages(
        path, (image[::4, ::4], 1), (image, 0)),
    "transparency beside it": lambda path, image: write_pages(
        path, (image, 0), (image[..., 0] > 0, 4)),
    "a reduced copy alone": lambda path, image: write_pages(path, (image, 1)),
    "planes of three grey channels": lambda path, image: tifffile.imwrite(
        path, np.moveaxis(image, -1, 0).copy(), photometric="minisblack", planarconfig="separate"),
    "planes with an opaque alpha, in tiles": lambda path, image: tifffile.imwrite(
        path, np.concatenate([np.moveaxis(image, -1, 0), np.full((1, 48, 40), 255, np.uint8)]),
        photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"], tile=(16, 16)),
    "BigTIFF": lambda path, image: tifffile.imwrite(path, image, photometric="rgb", bigtiff=True),
    "big end first": lambda path, image: tifffile.imwrite(
        path, image, photometric="rgb", byteorder=">"),
    "tiles": lambda path, image: tifffile.imwrite(path, image, photometric="rgb", tile=(16, 16)),
    "deflate with predictor": lambda path, image: tifffile.imwrite(
        path, image, photometric="rgb", compression="zlib", predictor=True)}


@pytest.mark.parametrize("how", SAME_IMAGE)
def test_images_are_read_as_viewers_show_them(tif_folder, how):
    expected = read_patient(tif_folder / FIRST).image
    for path in (tif_folder / FIRST).glob("*.tif"):
        if not path.stem.endswith("mask"):
            SAME_IMAGE[how](path, tifffile.imread(path))
    np.testing.assert_array_equal(read_patient(tif_folder / FIRST).image, expected)


def test_a_small_file_that_expands_is_refused_before_it_does(tif_folder, monkeypatch):
    tifffile.imwrite(slice_file(tif_folder / FIRST), np.zeros((6000, 6000, 3), np.uint8),
                     photometric="rgb", compression="zlib")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)           # calling it would raise
    with pytest.raises(DataError, match="its header claims 108,.* bytes of pixels in a file of"):
        page.read_page(slice_file(tif_folder / FIRST))


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "zstd", "group4"])
def test_a_compression_that_takes_imagecodecs_says_what_to_install(tif_folder, compression):
    if importlib.util.find_spec("imagecodecs") or importlib.util.find_spec("compression"):
        pytest.skip("this Python knows these compressions")
    path = slice_file(tif_folder / FIRST)
    mode = "1" if compression == "group4" else "RGB"
    Image.fromarray(tifffile.imread(path)).convert(mode).save(path, compression=compression)
    with pytest.raises(DataError, match="Run `pip install imagecodecs`"):
        page.read_page(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("mask", [False, True])
def test_a_pipe_is_refused_and_not_waited_for(tif_folder, mask):
    path = slice_file(tif_folder / FIRST, mask=mask)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="_3.*: is no regular file"):
        read_patient(tif_folder / FIRST)


def test_a_link_that_leads_to_itself_is_refused(tif_folder):
    path = slice_file(tif_folder / FIRST)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(DataError, match=f"{FIRST}_3.tif: (is no regular file|cannot be read)"):
        read_patient(tif_folder / FIRST)


# --- several labels ---

def test_a_label_map_is_read_with_the_labels_it_has(tif_folder):
    for number in (3, 4):
        change(slice_file(tif_folder / FIRST, number, True), lambda mask: mask // 255 * 2)
    for number in (1, 2, 5, 6):
        change(slice_file(tif_folder / FIRST, number, True), lambda mask: mask // 255)
    labels = {"oedema": 1, "core": 2}
    target = read_patient(tif_folder / FIRST, labels=labels).target
    assert target.dtype == np.uint8 and target.max(axis=(1, 2)).tolist() == [0, 1, 2, 2, 1, 0]
    with pytest.raises(DataError, match=r"values \[0, 2\], expected two.*Give labels={…}"):
        read_patient(tif_folder / FIRST)
    assert (read_patient(tif_folder / FIRST, labels={
        name: np.int64(value) for name, value in labels.items()}).target == target).all()
    change(slice_file(tif_folder / FIRST, 3, True), lambda mask: mask * 4)
    with pytest.raises(DataError, match=r"values \[8\], expected those of the labels, 0 to 2"):
        read_patient(tif_folder / FIRST, labels=labels)


@pytest.mark.parametrize("labels", [{}, {"a": 0}, {"a": 1, "b": 3}, {"a": 1, "b": 1}, ["a"], "a",
                                    {"a": 1.5}, {"a": "1"}, {1: "a"}, {"background": 0, "a": 1},
                                    {f"{n}": n for n in range(1, 257)}])
def test_labels_that_do_not_count_from_one_are_refused(tif_folder, labels):
    with pytest.raises(CourseError, match="labels=.*with the values 1, 2, 3"):
        read_patient(tif_folder / FIRST, labels=labels)


# --- who is a patient ---

@pytest.mark.parametrize("name", [".Trash-1000", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN",
                                  "__MACOSX", "#recycle", "System Volume Information",
                                  "lost+found", "~snapshot", "$Recycle.Bin", "RECYCLER",
                                  "Network Trash Folder", ".Spotlight-V100"])
def test_folders_of_the_system_are_no_patients(tif_folder, name):
    write_patient(tif_folder, name, seed=9)
    assert name not in [path.name for path in find_patients(tif_folder)]
    assert len(find_patients(tif_folder)) == 4


def test_thumbnails_and_notes_of_file_managers_in_a_patients_folder_are_left_alone(tif_folder):
    expected = read_patient(tif_folder / FIRST)
    for name in ("@eaDir", ".ipynb_checkpoints", "__MACOSX"):
        shutil.copytree(tif_folder / "TEST_AA_0002_20000101", tif_folder / FIRST / name)
    for name in (f"._{FIRST}_3.tif", f"._{FIRST}_9.tif", f".{FIRST}_9.tif", "Thumbs.db"):
        (tif_folder / FIRST / name).write_bytes(b"not a tif")
    assert read_patient(tif_folder / FIRST).files == expected.files


def test_links_in_circles_neither_hang_nor_count(tif_folder):
    (tif_folder / "all again").symlink_to(tif_folder, target_is_directory=True)
    (tif_folder / "itself").symlink_to(tif_folder / "itself")
    (tif_folder / FIRST / "up").symlink_to(tif_folder, target_is_directory=True)
    assert len(find_patients(tif_folder)) == 4
    assert len(read_patient(tif_folder / FIRST).slices) == 6


def test_a_data_sets_folder_that_cannot_be_read_says_so(tif_folder, monkeypatch):
    def locked(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", locked)
    with pytest.raises(DataError, match="cannot be read .Permission denied.. Allow reading it"):
        find_patients(tif_folder)


def test_a_file_that_may_not_be_read_is_a_finding_with_a_cure(tif_folder, monkeypatch):
    read_bytes = Path.read_bytes

    def locked(path):
        if path.name == f"{FIRST}_3_mask.tif":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", locked)
    with pytest.raises(DataError, match="_3_mask.tif: cannot be read .Permission denied.. Put "
                                        "the file in its place and allow reading it"):
        read_patient(tif_folder / FIRST)


def test_a_folder_that_cannot_be_read_is_one_patient_that_cannot(tif_folder, monkeypatch):
    iterdir = Path.iterdir

    def locked(path):
        if path.name == FIRST:
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", locked)
    assert len(find_patients(tif_folder)) == 4
    with pytest.raises(DataError, match=f"{FIRST}: the folder cannot be read .Permission denied"):
        read_patient(tif_folder / FIRST)


def test_all_patients_in_one_folder_are_refused_with_the_layout_that_is_wanted(tif_folder):
    for folder in find_patients(tif_folder):
        for path in folder.iterdir():
            path.rename(tif_folder / path.name)
        folder.rmdir()
    with pytest.raises(DataError, match="no patient in it: files such as .*Make one folder per "
                                        "patient and move .*: 4 patients lie here"):
        find_patients(tif_folder)
    with pytest.raises(DataError, match="belongs to .*one folder per patient"):
        read_patient(tif_folder)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_damaged_files_raise_nothing_but_data_errors(tmp_path, compression):
    random = np.random.default_rng(0)
    path = tmp_path / "patient" / "a_1.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, random.integers(0, 255, (48, 40, 3), dtype=np.uint8),
                     photometric="rgb", compression=compression)
    sound, refused = path.read_bytes(), 0
    for _ in range(200):
        content = bytearray(sound[: random.integers(len(sound)) if random.random() < 0.2 else None])
        for position in random.integers(min(400, len(content) + 1), size=3):     # mostly the header
            content[position:position + 1] = random.bytes(1)
        path.write_bytes(content)
        _, problems = tif.examine(path.parent, with_target=False)
        refused += bool(problems)
    assert 50 < refused < 200
