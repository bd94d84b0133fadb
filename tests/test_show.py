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
from course_lib.show import pictures

TARGET, PREDICTION = (86, 180, 233), (230, 159, 0)               # #56B4E9, #E69F00


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


def test_grey_shows_the_slices_own_range():
    image = np.linspace(-7, 3, 1001).reshape(7, 143)             # 99.5th percentile: 2.95
    found = show.grey(image)
    assert found.dtype == np.uint8 and found.min() == 0 and found.max() == 255
    assert (image[found == 255] > 2.9).all()


@pytest.mark.parametrize("value", [0, 7])
def test_grey_of_a_constant_slice_is_black(value):
    assert (show.grey(np.full((4, 4), value, np.uint8)) == 0).all()


def test_overlay_outlines_the_target_by_hand():
    picture = show.overlay(np.full((8, 8), 40), target=square(), zoom=1, window=(0, 200))
    assert picture.dtype == np.uint8 and picture.shape == (8, 8, 3)
    ring = square() - square(top=3, left=3, height=2, width=2)   # 12 pixels round 4
    assert np.array_equal(is_colour(picture, TARGET), ring == 1)
    assert (picture[ring == 0] == 51).all()                      # 40 / 200 · 255


def test_overlay_dashes_the_prediction_by_hand():
    picture = show.overlay(np.zeros((8, 8)), prediction=square(), zoom=1)
    # A dash is 6 pixels, then a gap of 6, counted by row + column, which runs from 4 to 10 here.
    ring = square() - square(top=3, left=3, height=2, width=2)
    rows, columns = np.indices((8, 8))
    dashes = (ring == 1) & (rows + columns < 6)                  # (2, 2), (2, 3), (3, 2): 3 of 12
    assert dashes.sum() == 3
    # A quarter of such a small outline says little, so all of it is drawn.
    assert np.array_equal(is_colour(picture, PREDICTION), ring == 1)


def test_overlay_zooms_and_keeps_lines_fine():
    picture = show.overlay(np.zeros((8, 8)), target=square(), zoom=3)
    outline = square((24, 24), 6, 6, 12, 12) - square((24, 24), 7, 7, 10, 10)
    assert np.array_equal(is_colour(picture, TARGET), outline == 1)


def test_lines_of_large_pictures_are_wide_enough_to_be_seen():
    picture = show.overlay(np.zeros((256, 256)), target=square((256, 256), 60, 60, 100, 100))
    widths = is_colour(picture, TARGET)[256].nonzero()[0]        # 512 / 200 pixels, rounded
    assert widths.tolist() == [120, 121, 122, 317, 318, 319]


def test_target_is_solid_and_prediction_dashed():
    mask = disc()
    large = mask.repeat(2, axis=0).repeat(2, axis=1).astype(bool)
    outline = large & ~ndimage.binary_erosion(large)
    solid = is_colour(show.overlay(np.zeros((128, 128)), target=mask), TARGET)
    dashed = is_colour(show.overlay(np.zeros((128, 128)), prediction=mask), PREDICTION)
    assert np.array_equal(solid, outline)
    assert (dashed <= outline).all()
    assert 0.4 < dashed.sum() / outline.sum() < 0.6


def test_dashes_are_even_along_a_straight_side():
    mask = square((64, 64), 4, 4, 50, 50)
    side = is_colour(show.overlay(np.zeros((64, 64)), prediction=mask), PREDICTION)[8, 8:108]
    ends = np.flatnonzero(np.diff(side)) + 1
    assert len(ends) > 10 and set(np.diff(ends)) == {6}


def test_no_part_of_a_prediction_is_lost_between_dashes():
    for row in range(1, 11):
        for column in range(1, 11):
            mask = square((40, 40), 20, 20, 18, 18) | square((40, 40), row, column, 1, 1)
            drawn = is_colour(show.overlay(np.zeros((40, 40)), prediction=mask), PREDICTION)
            assert drawn[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean() > 1 / 3
            assert 0.4 < drawn[40:, 40:].sum() / (4 * 35) < 0.6  # the large part is still dashed


def test_where_both_agree_both_colours_are_seen():
    picture = show.overlay(np.zeros((128, 128)), prediction=disc(), target=disc())
    blue, orange = is_colour(picture, TARGET).sum(), is_colour(picture, PREDICTION).sum()
    assert 0.5 < blue / orange < 2


def test_opacity_by_hand():
    picture = show.overlay(np.full((8, 8), 40), target=square(), zoom=1, opacity=0.2,
                           window=(0, 200))
    # 51 + 0.2 · (86 - 51), 51 + 0.2 · (180 - 51), 51 + 0.2 · (233 - 51)
    assert picture[2, 2].tolist() == [58, 77, 87]


def test_opacity_zero_leaves_the_grey_slice():
    image = np.random.default_rng(0).random((16, 16))
    picture = show.overlay(image, disc(16, 5), disc(16, 6), zoom=1, opacity=0)
    assert np.array_equal(picture, np.repeat(show.grey(image)[..., None], 3, axis=-1))


def test_none_and_empty_masks_draw_nothing():
    image = np.random.default_rng(0).random((16, 16))
    plain = show.overlay(image)
    assert (plain[..., 0] == plain[..., 1]).all() and (plain[..., 0] == plain[..., 2]).all()
    assert np.array_equal(show.overlay(image, None, np.zeros((16, 16), bool)), plain)
    assert np.array_equal(show.overlay(image, np.zeros((16, 16), np.uint8), None), plain)


def test_colours_can_be_the_tutorials():
    picture = show.overlay(np.zeros((128, 128)), disc(radius=30), disc(), colours=show.TUTORIAL)
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


def test_gif_of_a_noisy_volume_stays_below_a_megabyte():
    random = np.random.default_rng(0)
    volume = random.integers(0, 255, (88, 256, 256), dtype=np.uint8)
    picture = show.gif(volume, alt="noise")
    assert len(picture.data) <= 1_000_000 and picture.kind == "gif"
    film = Image.open(io.BytesIO(picture.data))
    assert film.n_frames == 88 and film.info["loop"] == 0        # without end
    assert film.width == film.height >= 64


def test_gif_keeps_the_outlines_colours_also_where_the_middle_slice_has_none():
    volume = np.random.default_rng(0).random((9, 64, 64))
    target, prediction = np.zeros((2, 9, 64, 64), np.uint8)
    target[1], prediction[7] = disc(64, 20), disc(64, 20)
    picture = show.gif(volume, prediction, target, alt="g", milliseconds=300)
    film = Image.open(io.BytesIO(picture.data))
    seen = []
    for number in range(film.n_frames):
        film.seek(number)
        frame = np.asarray(film.convert("RGB"))
        seen.append((is_colour(frame, TARGET).sum() > 50, is_colour(frame, PREDICTION).sum() > 50))
        assert film.info["duration"] == 300
    assert [number for number, (blue, _) in enumerate(seen) if blue] == [1]
    assert [number for number, (_, orange) in enumerate(seen) if orange] == [7]


def test_gif_gives_every_slice_its_time_also_where_slices_are_alike():
    film = Image.open(io.BytesIO(show.gif(np.zeros((5, 64, 64)), alt="black").data))
    durations = []
    for number in range(film.n_frames):                          # like frames may become one
        film.seek(number)
        durations.append(film.info["duration"])
    assert sum(durations) == 5 * 200


def test_gif_shows_all_slices_in_one_window():
    volume = np.stack([np.full((64, 64), value) for value in (0.0, 50.0, 100.0)])
    film = Image.open(io.BytesIO(show.gif(volume, alt="steps").data))
    greys = []
    for number in range(3):
        film.seek(number)
        greys.append(int(np.asarray(film.convert("RGB")).mean()))
    assert greys[0] == 0 and greys[2] == 255 and greys[1] == pytest.approx(127, abs=5)


def test_contact_sheet_draws_every_slice_with_its_outlines():
    images = [np.zeros((128, 128)) for _ in range(5)]
    picture = show.contact_sheet(images, [disc(radius=30)] * 5, [disc()] * 5,
                                 titles=list("abcde"), alt="five discs")
    found = pixels(picture.data)
    assert picture.alt == "five discs" and picture.kind == "png"
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


def rows(*scores: float) -> list[dict]:
    return [{"patient": f"patient {number}", "dsc": score} for number, score in enumerate(scores)]


def test_dsc_chart_tells_its_numbers():
    picture = show.dsc_chart(rows(0.2, 0.9, 0.7), "Three patients.")
    assert picture.alt == ("Three patients. Bars: DSC of 3 patients, mean 0.600, median 0.700.")
    assert pixels(picture.data).shape[1] > 600


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
    assert pixels(picture.data).shape[1] > 800


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
    expected = show.overlay(fake.image[2, ..., 1], fake.mask[2], fake.target[2])
    assert shown.picture.format == "png"
    assert np.array_equal(pixels(shown.picture.value), expected)
    # Prediction 32 voxels, target 48, both 32: 2 · 32 / 80.
    assert shown.caption.value.startswith("slice 3 of 4, threshold 0.50: patient DSC 0.800. ")
    assert "Target solid, prediction dashed" in shown.caption.value


def test_slice_viewer_follows_the_slice():
    fake = patient()
    shown = parts(show.slice_viewer({"a": fake}, score=metrics.dsc))
    shown.slice.value = 2
    expected = show.overlay(fake.image[1, ..., 1], fake.mask[1], fake.target[1])
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


def test_a_sheet_of_patients_shows_the_slice_with_most_label_of_each(monkeypatch):
    shown = []
    monkeypatch.setattr(pictures, "contact_sheet", lambda *parts, **how: shown.append((parts, how)))
    healthy = patient(1)
    healthy.target[:] = 0                                        # then the prediction decides
    show.patient_sheet([patient(), healthy, patient(2, target=False)], ["a", "b", "c"], alt="three")
    (((images, masks, targets), how),) = shown
    assert [int((mask > 0).sum()) for mask in masks] == [32, 32, 32]
    assert [None if target is None else int(target.sum()) for target in targets] == [32, 0, None]
    assert np.array_equal(images[0], patient().image[2, ..., 1])
    assert how["titles"] == ["a", "b", "c"] and how["alt"] == "three"


def test_slice_viewer_follows_the_opacity():
    fake = patient()
    shown = parts(show.slice_viewer({"a": fake}, score=metrics.dsc))
    shown.opacity.value = 0
    assert np.array_equal(pixels(shown.picture.value), show.overlay(fake.image[2, ..., 1]))


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
                          show.overlay(short.image[1, ..., 1], None, short.target[1]))
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
    assert viewer.picture.alt == ("The slice with most tumour of 3 patients, outlined; "
                                  "mean patient DSC 0.800.")
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


def test_a_picture_shows_flair_of_the_slice_with_most_tumour(monkeypatch):
    target = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    target[1, :, 2:6, 2:6], target[2, :, 2:3, 2:3] = 1, 2
    shown = []
    monkeypatch.setattr(pictures, "overlay", lambda *arguments: shown.append(arguments))
    image, mask = torch.rand(3, 3, 8, 8).half(), np.zeros((3, 8, 8), np.uint8)
    mask[1, 0, 0] = 2
    show.outline_most_marked(image, mask, target)
    (picture, prediction, outlined), = shown
    assert (picture == image[1, 1].float().numpy()).all()
    assert prediction.sum() == 1 and prediction[0, 0] and outlined.sum() == 16
