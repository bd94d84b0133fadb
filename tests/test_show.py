import base64
import io
import math
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from course_lib import metrics, show
from course_lib.errors import CourseError
from course_lib.show import gifs, pictures, sheets

TARGET, PREDICTION = (86, 180, 233), (230, 159, 0)               # #56B4E9, #E69F00
UNIT = (0, 1)                                                    # a window


def pixels(data: bytes) -> np.ndarray:
    """The (H, W, 3) uint8 pixels of a picture file."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=-1)


def square(shape=(8, 8), top=2, left=2, height=4, width=4) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def disc(size: int = 128, radius: float = 40) -> np.ndarray:
    rows, columns = np.indices((size, size)) - size / 2
    return (np.hypot(rows, columns) < radius).astype(np.uint8)


@pytest.fixture(autouse=True)
def _numbers_are_never_made_of_nothing():
    """numpy warns of a mean of nothing and of a cast of NaN; here that is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_grey_by_hand():
    image = np.array([[0.0, 50.0], [100.0, 300.0]])
    assert show.grey(image, window=(0, 200)).tolist() == [[0, 64], [128, 255]]
    assert show.grey(image, window=(50, 100)).tolist() == [[0, 0], [255, 255]]


def head(brain: float = 70, fat: float = 200, tumour: float = 140, noise: float = 4) -> np.ndarray:
    """Six slices: a brain in a ring of fat with a tumour, and at both ends nothing but noise."""
    volume = np.random.default_rng(0).uniform(0, noise, (6, 64, 64))
    volume[1:5, 8:56, 8:56], volume[1:5, 12:52, 12:52] = fat, brain
    volume[2, 20:30, 20:30] = tumour
    return volume


def test_a_window_by_hand():
    # 90 of 100 pixels are air, 9 brain, 1 fat; head: above 3 + 0.1 · (203 - 3). 3 + 2.2 · 77.
    volume = np.repeat([3.0, 80.0, 203.0], [90, 9, 1])
    assert show.find_window(volume) == pytest.approx((3, 172.4))


@pytest.mark.parametrize("brain", [70, 700, 0.7])
def test_brain_is_shown_near_middle_grey_and_what_is_brighter_or_darker_is_seen(brain):
    volume = head(brain, 3 * brain, 1.5 * brain, 0.05 * brain)
    volume[3, 20:30, 20:30] = 0.7 * brain
    window = show.find_window(volume)
    shown = [int(show.grey(volume[row], window)[25, 25]) for row in (1, 2, 3)]
    assert 100 < shown[0] < 130                                  # brain, brighter, darker
    assert 40 < shown[1] - shown[0] and 30 < shown[0] - shown[2]


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_shade_of_brain_does_not_depend_on_how_much_fat_there_is(share):
    volume = np.full(10_000, 60.0)
    volume[:5000] = 0
    volume[5000 : 5000 + int(share * 5000)] = 250
    assert show.grey(np.array([[60.0]]), show.find_window(volume)) == 116       # 255 / 2.2


def test_a_slice_of_noise_stays_dark_and_a_tissue_keeps_its_grey_from_slice_to_slice():
    volume = head()
    window = show.find_window(volume)
    greys = [show.grey(image, window) for image in volume]
    assert greys[0].max() < 10 and greys[-1].max() < 10
    assert greys[1][40, 40] == greys[2][40, 40] == greys[4][40, 40]


@pytest.mark.parametrize("value", [60_000, -60_000])
def test_one_odd_pixel_does_not_change_the_window_of_a_patient(value):
    volume = head()
    before = show.find_window(volume)
    volume[3, 30, 30] = value
    assert show.find_window(volume) == pytest.approx(before, rel=0.02, abs=0.1)


def test_a_window_of_prepared_slices_is_found_in_tensors_of_half_precision():
    volume = torch.from_numpy(head())
    prepared = ((volume - volume.mean()) / volume.std()).half()
    low, high = show.find_window(prepared)
    assert low == pytest.approx(float(prepared.min()), abs=0.1) and 1 < high - low < 4


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_slice_is_black(value):
    image = np.full((4, 4), value, np.uint8)
    assert (show.grey(image, show.find_window(image)) == 0).all()


def test_white_is_not_beyond_the_brightest():
    assert show.find_window(square()) == (0, 1)


@pytest.mark.parametrize(("windows", "words"), [
    ([(0, 180), (0, 180)], "grey window 0 to 180"),
    ([(0, 1234), (-0.51234, 4)], "grey windows 0 to 1230, -0.512 to 4"),
    ([(0, high) for high in range(5)], "5 grey windows")])
def test_windows_in_words(windows, words):
    assert pictures.tell_windows(windows) == words


def test_overlay_outlines_the_target_by_hand():
    picture = show.overlay(np.full((8, 8), 40), target=square(), zoom=1, window=(0, 200))
    assert picture.dtype == np.uint8 and picture.shape == (8, 8, 3)
    ring = square() - square(top=3, left=3, height=2, width=2)   # 12 pixels round 4
    assert np.array_equal(is_colour(picture, TARGET), ring == 1)
    assert (picture[ring == 0] == 51).all()                      # 40 / 200 · 255


def test_overlay_dashes_the_prediction_by_hand():
    picture = show.overlay(np.zeros((8, 8)), prediction=square(), zoom=1, window=UNIT)
    # A dash is 6 pixels, then a gap of 6, counted by row + column, which runs from 4 to 10 here.
    ring = square() - square(top=3, left=3, height=2, width=2)
    rows, columns = np.indices((8, 8))
    dashes = (ring == 1) & (rows + columns < 6)                  # (2, 2), (2, 3), (3, 2): 3 of 12
    assert dashes.sum() == 3
    # A quarter of such a small outline says little, so all of it is drawn.
    assert np.array_equal(is_colour(picture, PREDICTION), ring == 1)


def test_overlay_zooms_and_keeps_lines_fine():
    picture = show.overlay(np.zeros((8, 8)), target=square(), zoom=3, window=UNIT)
    outline = square((24, 24), 6, 6, 12, 12) - square((24, 24), 7, 7, 10, 10)
    assert np.array_equal(is_colour(picture, TARGET), outline == 1)


def test_lines_of_large_pictures_are_wide_enough_to_be_seen():
    picture = show.overlay(np.zeros((256, 256)), target=square((256, 256), 60, 60, 100, 100),
                           window=UNIT)
    widths = is_colour(picture, TARGET)[256].nonzero()[0]        # 512 / 200 pixels, rounded
    assert widths.tolist() == [120, 121, 122, 317, 318, 319]


def test_target_is_solid_and_prediction_dashed():
    mask = disc()
    large = mask.repeat(2, axis=0).repeat(2, axis=1).astype(bool)
    outline = large & ~ndimage.binary_erosion(large)
    black = np.zeros((128, 128))
    solid = is_colour(show.overlay(black, target=mask, window=UNIT), TARGET)
    dashed = is_colour(show.overlay(black, prediction=mask, window=UNIT), PREDICTION)
    assert np.array_equal(solid, outline)
    assert (dashed <= outline).all()
    assert 0.4 < dashed.sum() / outline.sum() < 0.6


def test_dashes_are_even_along_a_straight_side():
    mask = square((64, 64), 4, 4, 50, 50)
    drawn = show.overlay(np.zeros((64, 64)), prediction=mask, window=UNIT)
    side = is_colour(drawn, PREDICTION)[8, 8:108]
    ends = np.flatnonzero(np.diff(side)) + 1
    assert len(ends) > 10 and set(np.diff(ends)) == {6}


def test_no_part_of_a_prediction_is_lost_between_dashes():
    for row in range(1, 11):
        for column in range(1, 11):
            mask = square((40, 40), 20, 20, 18, 18) | square((40, 40), row, column, 1, 1)
            drawn = is_colour(show.overlay(np.zeros((40, 40)), prediction=mask, window=UNIT),
                              PREDICTION)
            assert drawn[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean() > 1 / 3
            assert 0.4 < drawn[40:, 40:].sum() / (4 * 35) < 0.6  # the large part is still dashed


def test_where_both_agree_both_colours_are_seen():
    picture = show.overlay(np.zeros((128, 128)), disc(), disc(), window=UNIT)
    blue, orange = is_colour(picture, TARGET).sum(), is_colour(picture, PREDICTION).sum()
    assert 0.5 < blue / orange < 2


def test_opacity_by_hand():
    picture = show.overlay(np.full((8, 8), 40), target=square(), zoom=1, opacity=0.2,
                           window=(0, 200))
    # 51 + 0.2 · (86 - 51), 51 + 0.2 · (180 - 51), 51 + 0.2 · (233 - 51)
    assert picture[2, 2].tolist() == [58, 77, 87]


def test_opacity_zero_leaves_the_grey_slice():
    image = np.random.default_rng(0).random((16, 16))
    picture = show.overlay(image, disc(16, 5), disc(16, 6), zoom=1, opacity=0, window=UNIT)
    assert np.array_equal(picture, np.repeat(show.grey(image, UNIT)[..., None], 3, axis=-1))


def test_none_and_empty_masks_draw_nothing():
    image = np.random.default_rng(0).random((16, 16))
    plain = show.overlay(image, window=UNIT)
    assert (plain[..., 0] == plain[..., 1]).all() and (plain[..., 0] == plain[..., 2]).all()
    for empty in (np.zeros((16, 16), bool), np.zeros((16, 16), np.uint8)):
        assert np.array_equal(show.overlay(image, empty, empty, window=UNIT), plain)


def test_colours_can_be_the_tutorials():
    picture = show.overlay(np.zeros((128, 128)), disc(radius=30), disc(), window=UNIT,
                           colours=show.TUTORIAL)
    assert is_colour(picture, (0, 255, 0)).any() and is_colour(picture, (255, 0, 0)).any()


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_picture_without_a_description_is_refused(alt):
    with pytest.raises(CourseError, match="a picture without a description. Say in alt"):
        show.Picture(b"", alt)


def test_a_picture_is_html_with_its_description_escaped():
    picture = show.Picture(b"abc", 'DSC < 0.5 & "dashed"', "gif")
    found = picture._repr_html_()
    assert f"data:image/gif;base64,{base64.b64encode(b'abc').decode()}" in found
    assert 'alt="DSC &lt; 0.5 &amp; &quot;dashed&quot;"' in found
    assert repr(picture) == '[DSC < 0.5 & "dashed"]'


def test_a_picture_is_saved_with_its_folders(tmp_path):
    path = show.Picture(b"abc", "letters").save(tmp_path / "a" / "b.png")
    assert path.read_bytes() == b"abc"


def frames(picture: show.Picture) -> list[np.ndarray]:
    """The (H, W, 3) uint8 pixels of each frame of a GIF."""
    film = Image.open(io.BytesIO(picture.data))
    found = []
    for number in range(film.n_frames):
        film.seek(number)
        found.append(np.asarray(film.convert("RGB")))
    return found


def without_words(frame: np.ndarray) -> np.ndarray:
    """The slice alone, without the two lines below it."""
    return frame[: -2 * gifs.LINE]


def test_gif_of_a_noisy_volume_stays_below_a_megabyte_and_its_words_stay_as_large():
    volume = np.random.default_rng(0).integers(0, 255, (88, 256, 256), dtype=np.uint8)
    noisy, quiet = show.gif(volume, alt="noise"), show.gif(0 * volume, alt="black")
    assert len(noisy.data) <= 1_000_000 and noisy.kind == "gif"
    film = Image.open(io.BytesIO(noisy.data))
    assert film.n_frames == 88 and film.info["loop"] == 0        # without end
    assert film.height - gifs.LINE >= 64
    small, large = (frames(picture)[4][-gifs.LINE :, :100] for picture in (noisy, quiet))
    assert np.array_equal(small, large) and (small > 200).sum() > 30          # slice 5 of 88


def test_gif_keeps_the_outlines_colours_also_where_the_middle_slice_has_none():
    volume = np.random.default_rng(0).random((9, 64, 64))
    target, prediction = np.zeros((2, 9, 64, 64), np.uint8)
    target[1], prediction[7] = disc(64, 20), disc(64, 20)
    picture = show.gif(volume, prediction, target, alt="g", milliseconds=300)
    seen = [(is_colour(without_words(frame), TARGET).sum() > 50,
             is_colour(without_words(frame), PREDICTION).sum() > 50) for frame in frames(picture)]
    assert Image.open(io.BytesIO(picture.data)).info["duration"] == 300
    assert [number for number, (blue, _) in enumerate(seen) if blue] == [1]
    assert [number for number, (_, orange) in enumerate(seen) if orange] == [7]


@pytest.mark.parametrize(("around", "shown"), [
    (3, [*range(2, 9), *range(15, 20)]),                         # around 5 and 18, of 0 to 19
    (0, [5, 18]), (1, [4, 5, 6, 17, 18, 19]), (30, list(range(20))), (None, list(range(20)))])
def test_gif_shows_the_slices_that_matter_and_some_around_them(around, shown):
    volume = np.arange(20.0)[:, None, None] * np.ones((20, 64, 64))
    target, prediction = np.zeros((2, 20, 64, 64), np.uint8)
    target[5], prediction[18] = disc(64, 5), disc(64, 5)
    picture = show.gif(volume, prediction, target, alt="g.", around=around)
    greys = [int(frame[5, 100, 0]) for frame in frames(picture)]     # the slice stands centred
    wanted = show.grey(np.array(shown), show.find_window(volume)).tolist()
    assert len(greys) == len(shown) and greys == pytest.approx(wanted, abs=16)    # 30 greys
    assert picture.alt.startswith(f"g. Shown: {len(shown)} of 20 slices, from {shown[0] + 1} to ")


def test_gif_shows_all_slices_where_nothing_is_marked():
    empty = np.zeros((5, 64, 64), np.uint8)
    for masks in ((None, None), (empty, None), (empty, empty)):
        assert "5 of 5 slices" in show.gif(np.zeros((5, 64, 64)), *masks, alt="g.").alt


def test_gif_says_which_slice_it_is_and_which_line_is_which():
    volume, mask = np.zeros((3, 64, 64)), np.stack([disc(64, 20)] * 3)
    both, = {len(frame) for frame in frames(show.gif(volume, mask, mask, alt="g"))}
    none, = {len(frame) for frame in frames(show.gif(volume, alt="g"))}
    assert (both, none) == (128 + 2 * gifs.LINE, 128 + gifs.LINE)      # two lines, one line below
    first, second, _ = frames(show.gif(volume, mask, mask, alt="g"))
    number, legend = first[128 : 128 + gifs.LINE], first[128 + gifs.LINE :]
    assert not np.array_equal(number, second[128 : 128 + gifs.LINE])   # 1 of 3, 2 of 3
    assert np.array_equal(legend, second[128 + gifs.LINE :])
    solid, dashed = (is_colour(legend, colour)[gifs.LINE // 2] for colour in (TARGET, PREDICTION))
    assert solid.sum() == 24 and np.diff(solid.nonzero()[0]).max() == 1
    assert dashed.sum() == 18 and np.diff(dashed.nonzero()[0]).max() == 4         # gaps of 3
    alone = frames(show.gif(volume, None, mask, alt="g"))[0]
    assert is_colour(alone, TARGET).any() and not is_colour(alone, PREDICTION).any()


def test_gif_gives_every_slice_its_time_also_where_slices_are_alike():
    film = Image.open(io.BytesIO(show.gif(np.zeros((5, 64, 64)), alt="black").data))
    durations = []
    for number in range(film.n_frames):                          # like frames may become one
        film.seek(number)
        durations.append(film.info["duration"])
    assert sum(durations) == 5 * 200


def test_gif_shows_all_slices_in_one_window():
    picture = show.gif(head(), alt="g.")
    window = show.find_window(head())
    assert picture.alt.endswith(f"; {pictures.tell_windows([window])}.")
    greys = [float(frame[60:68, 60:68].mean()) for frame in frames(picture)]
    assert max(greys[0], greys[5]) < 10                          # noise
    assert greys[1:5] == pytest.approx([116] * 4, abs=9)         # brain, of 30 greys


def test_contact_sheet_draws_every_slice_with_its_outlines():
    images = [np.zeros((128, 128)) for _ in range(5)]
    picture = show.contact_sheet(images, [disc(radius=30)] * 5, [disc()] * 5,
                                 titles=list("abcde"), alt="Five discs.", window=UNIT)
    found = pixels(picture.data)
    assert picture.alt == "Five discs. Grey window 0 to 1." and picture.kind == "png"
    black = (found < 30).all(axis=-1)
    _, sheets = ndimage.label(ndimage.binary_opening(black, iterations=8))
    assert sheets == 2 * 5                                       # inside and outside of the outline
    blue = np.abs(found.astype(int) - TARGET).max(axis=-1) < 30
    assert blue.sum() > 5 * 200


def test_contact_sheet_is_as_wide_as_its_slices():
    sheets = [show.contact_sheet([np.zeros((32, 32))] * count, titles=list("abcde"), alt="x")
              for count in (1, 2, 4, 5)]
    widths = [pixels(sheet.data).shape[1] for sheet in sheets]
    assert widths[0] < widths[1] < widths[2] == widths[3]


def test_contact_sheet_takes_arrays_and_missing_masks():
    images, masks = np.zeros((2, 64, 64)), np.stack([disc(64, 20)] * 2)
    titles = ["a", "b"]
    with_array = show.contact_sheet(images, masks, None, titles=titles, alt="x")
    with_list = show.contact_sheet(list(images), list(masks), [None, None], titles=titles, alt="x")
    assert np.array_equal(pixels(with_array.data), pixels(with_list.data))


def shown_greys(monkeypatch, *images, window=None) -> tuple[list, show.Picture]:
    """The windows in which contact_sheet shows some images, and the sheet."""
    used, overlay = [], pictures.overlay
    monkeypatch.setattr(pictures, "overlay",
                        lambda *parts, **how: used.append(how["window"]) or overlay(*parts, **how))
    sheet = show.contact_sheet(list(images), titles=[""] * len(images), alt="A.", window=window)
    return used, sheet


def test_contact_sheet_shows_all_images_in_one_window_unless_told_otherwise(monkeypatch):
    volume = head()
    used, sheet = shown_greys(monkeypatch, *volume)
    assert used == [show.find_window(volume)] * 6
    assert sheet.alt == f"A. {pictures.tell_windows(used).capitalize()}."


@pytest.mark.parametrize("window", [(0, 150), [0, 150], np.array([0, 150])])
def test_contact_sheet_takes_one_window_for_all_images(monkeypatch, window):
    used, sheet = shown_greys(monkeypatch, *head()[:2], window=window)
    assert used == [(0, 150)] * 2 and sheet.alt == "A. Grey window 0 to 150."


def test_contact_sheet_takes_a_window_for_each_image(monkeypatch):
    used, sheet = shown_greys(monkeypatch, *head()[:3], window=[(0, 150), (2, 90), (0, 150)])
    assert used == [(0, 150), (2, 90), (0, 150)]
    assert sheet.alt == "A. Grey windows 0 to 150, 2 to 90."


def test_a_map_without_a_window_is_shown_in_its_own_range(monkeypatch):
    slice_, ramp = head()[2], np.linspace(-3, 7, 64).reshape(8, 8)
    used, _ = shown_greys(monkeypatch, slice_, ramp, window=[(0, 150), None])
    assert used == [(0, 150), (-3, 7)]
    used, _ = shown_greys(monkeypatch, ramp, slice_, window=[None, (0, 150)])
    assert used == [(-3, 7), (0, 150)]


def test_long_titles_stay_within_their_picture():
    title = "without skips: TWIN_DU_0002_20000101, slice 12"
    assert sheets._wrap(title) == "without skips:\nTWIN_DU_0002_20000101, slice\n12"
    assert sheets._wrap("two\nlines") == "two\nlines"


def rows(*scores: float) -> list[dict]:
    return [{"patient": f"patient {number}", "dsc": score} for number, score in enumerate(scores)]


def test_dsc_chart_tells_its_numbers():
    picture = show.dsc_chart(rows(0.2, 0.9, 0.7), "Three patients.")
    assert picture.alt == ("Three patients. Bars: DSC of 3 patients, mean 0.600, median 0.700.")
    assert 600 < pixels(picture.data).shape[1] < 700             # a phone's width, twice


def test_dsc_chart_leaves_out_nan_and_says_how_many():
    picture = show.dsc_chart(rows(0.2, math.nan, 0.6, math.nan))
    assert picture.alt == ("Bars: DSC of 2 patients, mean 0.400, median 0.400; "
                           "2 with nothing to measure.")


def test_dsc_chart_works_with_one_patient_and_with_none_to_measure():
    assert "mean 0.500, median 0.500" in show.dsc_chart(rows(0.5)).alt
    nothing = show.dsc_chart(rows(math.nan, math.nan))
    assert nothing.alt == "Bars: DSC of 0 patients; 2 with nothing to measure."
    assert pixels(nothing.data).ndim == 3


def test_dsc_chart_draws_bars_as_long_as_the_scores():
    found = pixels(show.dsc_chart(rows(0.0, 1.0, 0.5)).data)
    bars = np.unique(is_colour(found, TARGET).sum(axis=1))       # the bars' blue, row by row
    longest = bars.max()
    middle = bars[(bars > 0) & (bars < 0.8 * longest)]
    assert len(middle) and middle.max() == pytest.approx(longest / 2, rel=0.03)


def history(epochs: int) -> list[dict]:
    return [{"epoch": float(epoch), "training_loss": 1 / epoch, "validation_loss": 2 / epoch,
             "prepared_dsc": 1 - 1 / epoch} for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize(("epochs", "numbers"), [
    (1, "over 1 epochs: training loss ends at 1.000, validation loss at 2.000, DSC at 0.000."),
    (4, "over 4 epochs: training loss ends at 0.250, validation loss at 0.500, DSC at 0.750.")])
def test_curves_tell_their_last_numbers(epochs, numbers):
    picture = show.curves(history(epochs), "A training.")
    assert picture.alt == f"A training. Curves {numbers}"
    height, width, _ = pixels(picture.data).shape
    assert 600 < width < 700 < 1.5 * height                      # one panel below the other


def test_curves_leave_a_gap_where_nothing_was_measured():
    told = history(5)
    told[2]["prepared_dsc"] = math.nan
    assert not np.array_equal(pixels(show.curves(told).data), pixels(show.curves(history(5)).data))


def patient(seed: int = 0, target: bool = True) -> SimpleNamespace:
    """Four slices of 16 x 24. Target: 16 pixels in slice 2, 32 in slice 3. Probability 0.9 in the
    32 of slice 3, and 0.4 in 16 pixels of slice 4, where no target is."""
    image = np.random.default_rng(seed).integers(0, 255, (4, 16, 24, 3), dtype=np.uint8)
    marked = np.zeros((4, 16, 24), np.uint8)
    marked[1, 4:8, 4:8], marked[2, 4:8, 4:12] = 1, 1
    probabilities = np.full((4, 16, 24), 0.1, np.float32)
    probabilities[2, 4:8, 4:12], probabilities[3, 4:8, 4:8] = 0.9, 0.4
    return SimpleNamespace(image=image, probabilities=probabilities[None],
                           mask=(probabilities > 0.5).astype(np.uint8),
                           target=marked if target else None)


def parts(viewer) -> SimpleNamespace:
    """The controls, the picture and the caption of a slice_viewer."""
    first, second, picture, caption = viewer.widget.children
    return SimpleNamespace(patient=first.children[0], slice=first.children[1],
                           opacity=second.children[0], threshold=second.children[1],
                           picture=picture, caption=caption)


def test_slice_viewer_begins_at_the_slice_with_most_tumour():
    fake = patient()
    shown = parts(show.slice_viewer({"a": fake}, score=metrics.dsc))
    assert (shown.patient.value, shown.slice.value, shown.slice.max) == ("a", 3, 4)
    window = show.find_window(fake.image[..., 1])
    expected = show.overlay(fake.image[2, ..., 1], fake.mask[2], fake.target[2], window=window)
    assert shown.picture.format == "png"
    assert np.array_equal(pixels(shown.picture.value), expected)
    # Prediction 32 voxels, target 48, both 32: 2 · 32 / 80.
    assert shown.caption.value.startswith("slice 3 of 4, threshold 0.50: patient DSC 0.800. ")
    assert shown.caption.value.endswith(". Target solid, prediction dashed; grey window 1 to "
                                        "254, the same in all slices.")


def test_slice_viewer_follows_the_slice():
    fake = patient()
    shown = parts(show.slice_viewer({"a": fake}, score=metrics.dsc))
    shown.slice.value = 2
    expected = show.overlay(fake.image[1, ..., 1], fake.mask[1], fake.target[1],
                            window=show.find_window(fake.image[..., 1]))
    assert np.array_equal(pixels(shown.picture.value), expected)
    assert shown.caption.value.startswith("slice 2 of 4, threshold 0.50: patient DSC 0.800")


def test_slice_viewer_follows_the_threshold():
    fake = patient()
    shown = parts(show.slice_viewer({"a": fake}, score=metrics.dsc))
    shown.slice.value = 4
    assert not is_colour(pixels(shown.picture.value), PREDICTION).any()
    shown.threshold.value = 0.3                                  # 48 predicted, 48 marked, 32 both
    assert "threshold 0.30: patient DSC 0.667" in shown.caption.value
    assert is_colour(pixels(shown.picture.value), PREDICTION).any()
    shown.threshold.value = 0.96
    assert "threshold 0.96: patient DSC 0.000" in shown.caption.value


def test_slice_viewer_of_several_labels_shows_what_is_not_background():
    fake, several = patient(), patient()
    several.probabilities = np.stack([1 - fake.probabilities[0], 0.7 * fake.probabilities[0],
                                      0.3 * fake.probabilities[0]])
    several.mask, several.target = 2 * fake.mask, 2 * fake.target
    one, other = (parts(show.slice_viewer({"a": each}, score=metrics.dsc))
                  for each in (fake, several))
    for shown in (one, other):
        shown.threshold.value = 0.3
    assert one.picture.value == other.picture.value and one.caption.value == other.caption.value


@pytest.fixture
def laid_out(monkeypatch):
    """What contact_sheet is given: images, masks and targets, and the rest by name."""
    shown = []
    monkeypatch.setattr(sheets, "contact_sheet",
                        lambda *parts, **how: shown.append((*parts, how)) or "a sheet")
    return shown


def test_a_sheet_of_patients_shows_the_slice_with_most_label_of_each(laid_out):
    healthy = patient(1)
    healthy.target[:] = 0                                        # then the prediction decides
    show.patient_sheet({"a": patient(), "b": healthy, "c": patient(2, target=False)}, alt="three")
    ((images, masks, targets, how),) = laid_out
    assert [int((mask > 0).sum()) for mask in masks] == [32, 32, 32]
    assert [None if target is None else int(target.sum()) for target in targets] == [32, 0, None]
    assert np.array_equal(images[0], patient().image[2, ..., 1])
    assert how["titles"] == ["a\nslice 3", "b\nslice 3", "c\nslice 3"] and how["alt"] == "three"
    assert how["window"] == [show.find_window(patient(seed).image[..., 1]) for seed in range(3)]


def test_a_sheet_of_patients_tells_the_score_of_the_slice_from_that_of_the_patient(laid_out):
    unmarked, empty = patient(target=False), patient()
    empty.target[:], empty.mask[:] = 0, 0
    patients = {"a": patient(), "b": unmarked, "c": empty}
    show.patient_sheet(patients, score=metrics.dsc, alt="scores")
    # The slice: 32 pixels predicted, 32 marked, the same. The patient: 2 · 32 / (32 + 48).
    assert laid_out[0][-1]["titles"] == ["a\nslice 3: DSC 1.000\npatient: DSC 0.800",
                                         "b\nslice 3", "c\nslice 1"]


def test_networks_are_compared_on_the_same_slices_row_by_row(laid_out):
    ours, theirs = ({"a": patient(), "b": patient(1)} for _ in range(2))
    theirs["a"].mask[:] = 0
    show.comparison_sheet({"ours": ours, "theirs": theirs}, score=metrics.dsc, alt="two by two")
    ((images, masks, targets, how),) = laid_out
    assert how["columns"] == 2 and how["alt"] == "two by two"
    assert [title.split("\n")[:2] for title in how["titles"]] == [
        ["ours", "a"], ["ours", "b"], ["theirs", "a"], ["theirs", "b"]]
    assert how["titles"][2].endswith("slice 3: DSC 0.000\npatient: DSC 0.000")
    assert np.array_equal(images[0], images[2]) and np.array_equal(targets[1], targets[3])
    assert [int(mask.sum()) for mask in masks] == [32, 32, 0, 32]
    assert how["window"][:2] == how["window"][2:]


def test_slice_viewer_follows_the_opacity():
    fake = patient()
    shown = parts(show.slice_viewer({"a": fake}, score=metrics.dsc))
    shown.opacity.value = 0
    expected = show.overlay(fake.image[2, ..., 1], window=show.find_window(fake.image[..., 1]))
    assert np.array_equal(pixels(shown.picture.value), expected)


def test_slice_viewer_changes_to_a_patient_with_fewer_slices():
    short = patient(seed=1)
    short.probabilities = short.probabilities[:, :2]
    for name in ("image", "mask", "target"):
        setattr(short, name, getattr(short, name)[:2])
    viewer = show.slice_viewer({"a": patient(), "b": short}, score=metrics.dsc)
    shown = parts(viewer)
    shown.slice.value = 4
    shown.patient.value = "b"                                    # nothing predicted in two slices
    assert shown.caption.value.startswith("slice 2 of 2, threshold 0.50: patient DSC 0.000")
    assert shown.slice.max == 2
    assert np.array_equal(pixels(shown.picture.value),
                          show.overlay(short.image[1, ..., 1], None, short.target[1],
                                       window=show.find_window(short.image[..., 1])))
    shown.patient.value = "a"
    assert shown.caption.value.startswith("slice 3 of 4, threshold 0.50: patient DSC 0.800")


def test_slice_viewer_keeps_the_shape_of_slices():
    shown = parts(show.slice_viewer({"a": patient()}, score=metrics.dsc))
    assert shown.picture.width == "512" and not shown.picture.height      # 24 : 16, not square


def test_slice_viewer_shows_a_patient_without_target():
    viewer = show.slice_viewer({"mine": patient(target=False)}, score=metrics.dsc)
    shown = parts(viewer)
    assert shown.slice.value == 3                                # most prediction
    assert shown.caption.value.startswith("slice 3 of 4, threshold 0.50. ")
    assert "DSC" not in shown.caption.value and "arget" not in shown.caption.value
    assert not is_colour(pixels(shown.picture.value), TARGET).any()
    assert "DSC" not in viewer.picture.alt
    shown.threshold.value = 0.3
    assert "threshold 0.30" in shown.caption.value


def test_slice_viewer_shows_a_patient_with_an_empty_target():
    fake = patient()
    fake.target[:] = 0
    shown = parts(show.slice_viewer({"healthy": fake}, score=metrics.dsc))
    assert shown.slice.value == 3
    assert "threshold 0.50: patient DSC 0.000" in shown.caption.value     # false positives
    shown.threshold.value = 0.96                                 # nothing there, nothing predicted
    assert "threshold 0.96" in shown.caption.value
    assert "DSC" not in shown.caption.value


def test_slice_viewer_has_a_still_picture_of_all_patients():
    empty = patient()
    empty.target[:], empty.mask[:] = 0, 0
    viewer = show.slice_viewer({"a": patient(), "b": patient(1, target=False), "c": empty},
                               score=metrics.dsc)
    assert viewer.picture.alt.startswith("The slice with most tumour of 3 patients, outlined; "
                                         "mean patient DSC 0.800. Grey window")
    assert pixels(viewer.picture.data).ndim == 3


def test_slice_viewer_is_a_widget_where_there_is_a_front_end_and_a_picture_elsewhere():
    viewer = show.slice_viewer({"a": patient()}, score=metrics.dsc)
    bundle = viewer._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert bundle["application/vnd.jupyter.widget-view+json"] == {
        "version_major": 2, "version_minor": 0, "model_id": viewer.widget.model_id}
    assert bundle["text/html"].startswith('<img src="data:image/png;base64,')
    assert 'alt="The slice with most tumour of 1 patients' in bundle["text/html"]
    assert bundle["text/plain"] == repr(viewer.picture)


def test_nothing_ever_imports_pyplot():
    code = """
import sys, types
import numpy as np
from course_lib import show
volume, mask = np.zeros((2, 64, 64)), np.ones((2, 64, 64), np.uint8)
patient = types.SimpleNamespace(image=volume[..., None], probabilities=0.4 * mask[None], mask=mask,
                                target=mask)
viewer = show.slice_viewer({"a": patient}, score=lambda prediction, target: 0.5, channel=0)
viewer.widget.children[1].children[1].value = 0.3            # the threshold
viewer._repr_mimebundle_()
show.contact_sheet(volume, mask, mask, titles=["a", "b"], alt="a")
show.dsc_chart([{"patient": "a", "dsc": 0.5}])
show.curves([{"epoch": 1, "training_loss": 1, "validation_loss": 1, "prepared_dsc": 0.5}])
show.gif(volume, mask, mask, alt="a")
show.draw_network({"a": (1, 8, 8), "b": (2, 4, 4)}, [("a", "b", 1)], maps={"a": volume[0]})
print(viewer.widget.children[3].value.split(":")[0])
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["slice 1 of 2, threshold 0.30", "True False"]


def test_histograms_and_dots_say_their_medians():
    values = np.arange(101.0)
    picture = show.histograms({"raw": {"A": values, "B": values + 5}}, xlabel="x", alt="Two lines.")
    assert picture.alt == "Two lines. Medians: A raw 50.00; B raw 55.00."
    picture = show.dots({"A": [1, 2, np.nan, 6], "B": [np.nan]}, xlabel="x", alt="Dots.")
    assert picture.alt == ("Dots. A: 3 patients, 1 to 6, median 2; B: 0 patients.")
    assert pixels(picture.data).ndim == 3


def test_several_panels_stand_below_each_other():
    values = {"A": np.arange(101.0)}
    one, two = (pixels(show.histograms(dict.fromkeys(titles, values), xlabel="x", alt="L.").data)
                for titles in (["raw"], ["raw", "per volume"]))
    assert one.shape[1] == pytest.approx(two.shape[1], rel=0.05) and two.shape[1] < 700
    assert two.shape[0] == pytest.approx(2 * one.shape[0], rel=0.05)


def test_a_picture_shows_flair_of_the_slice_with_most_tumour(monkeypatch):
    target = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    target[1, :, 2:6, 2:6], target[2, :, 2:3, 2:3] = 1, 2
    shown = []
    monkeypatch.setattr(pictures, "overlay", lambda *parts, window: shown.append((*parts, window)))
    image, mask = torch.rand(3, 3, 8, 8).half(), np.zeros((3, 8, 8), np.uint8)
    mask[1, 0, 0] = 2
    show.outline_most_marked(image, mask, target)
    (picture, prediction, outlined, window), = shown
    assert (picture == image[1, 1].float().numpy()).all()
    assert prediction.sum() == 1 and prediction[0, 0] and outlined.sum() == 16
    assert window == show.find_window(image[:, 1])               # of all slices, not of one
