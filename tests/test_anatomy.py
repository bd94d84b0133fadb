import numpy as np
import pytest
import torch

from course_lib.data import anatomy

# Points in the template, mm.
EYE, ORBIT, MAXILLARY_SINUS = (33, 64, -42), (31, 44, -52), (30, 50, -68)
VENTRICLE, WHITE, AIR = (6, 8, 14), (28, -20, 32), (0, 0, 118)


@pytest.fixture(scope="module")
def painted():
    """A function: brightness (3,) of a head at a point, and its grey and white matter (2,)."""
    def paint(point):
        points = torch.tensor([point], dtype=torch.float32)
        mix, matter = anatomy.paint(points, torch.zeros(1), np.random.default_rng(0))
        return mix[:, 0].numpy(), matter[:, 0].numpy()
    return paint


def test_flair_shows_dark_fluid_and_bright_fat(painted):
    flair = {name: painted(point)[0][1] for name, point in
             {"eye": EYE, "orbit": ORBIT, "sinus": MAXILLARY_SINUS, "ventricle": VENTRICLE,
              "white": WHITE, "air": AIR}.items()}
    assert flair["white"] == pytest.approx(0.94, abs=0.15)
    assert flair["orbit"] > 1.8
    assert max(flair["eye"], flair["ventricle"]) < 0.4
    assert flair["sinus"] < 0.1
    assert flair["air"] == 0


def test_only_the_brain_is_grey_or_white_matter(painted):
    assert painted(WHITE)[1][1] > 0.8
    for point in (EYE, ORBIT, AIR):
        assert painted(point)[1].tolist() == [0, 0]


def test_around_the_brain_come_skull_scalp_and_air():
    along = np.stack([np.arange(0.0, 110), np.full(110, -20), np.full(110, 30)], axis=-1)
    points = torch.from_numpy(along).float()
    mix, _ = anatomy.paint(points, torch.zeros(len(points)), np.random.default_rng(0))
    distance, depth, _ = anatomy.head_at(along)
    assert mix[0, (distance > 1) & (distance < 6)].min() < 0.4                  # fluid and bone
    assert mix[0, (distance > 4) & (depth > -5)].max() > 1.5                      # fat of the scalp
    assert (mix[:, depth < -2] == 0).all()


def test_gliomas_start_in_the_cerebrum_off_the_midline():
    atlas = anatomy.load()
    distance, depth, _ = anatomy.head_at(atlas.seeds)
    assert distance.max() < -3
    assert np.abs(atlas.seeds[:, 0]).min() > 8
    assert len(atlas.seeds) > len(atlas.deep) > 1000
    assert anatomy.head_at(atlas.deep)[0].max() < -20


def test_beyond_the_border_a_volume_goes_on():
    volume = torch.arange(8.0).reshape(1, 2, 2, 2)                    # (C, Z, Y, X)
    points = torch.tensor([[0.0, 0, 0], [2, 0, 0], [1, 0, 0], [9, 9, 9]])          # (x, y, z)
    values = anatomy.sample(volume, torch.zeros(3), 2.0, points)
    assert values.tolist() == [[0, 1, 0.5, 7]]
