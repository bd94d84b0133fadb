"""A simulated twin of the LGG set: real anatomy, invented patients, no download.

Each patient bends the head of anatomy.py by a smooth random deformation and a pose, gets a glioma
that pushes the brain aside, unlabelled distractors, three contrasts, a bias field, noise, and the
slices and scanner of a site; some lack a sequence, which is then a copy of FLAIR, as in the real
set. Files and folders are as in the Kaggle LGG set, but names begin with TWIN, so that no simulated
patient XX

All lengths are in mm; points are (x, y, z) in MNI space: to the right, to the front, upwards. What
is smooth is made on a coarse grid of each slice, (S, COARSE, COARSE), and enlarged.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy import ndimage
from scipy.special import ndtri
from torch.nn import functional

from course_lib import files, settings
from course_lib.data import anatomy
from course_lib.data.twin_names import USUAL, name_patient
from course_lib.errors import CourseError, whole_number

VERSION = 3               # raise it when the twin changes
PIXELS, COARSE = 256, 64
# Site code as in the real set: share of patients, pixel, noise, bias, numbers of slices.
SITES = {"CS": (0.15, 0.90, 0.045, 0.16, (20, 20, 20, 22, 24, 28)),
         "DU": (0.40, 0.92, 0.055, 0.14,
                (23, 26, 32, 34, 35, 36, 36, 37, 38, 40, 46, 54, 60, 88)),
         "EZ": (0.02, 0.90, 0.060, 0.15, (24,)),
         "FG": (0.13, 0.86, 0.055, 0.15, (26, 26, 27, 36)),
         "HT": (0.30, 0.92, 0.050, 0.16, (20, 20, 21, 22, 22, 23, 28, 30, 32))}


@dataclass(frozen=True)
class Glioma:
    """What one patient's tumour is like. Lengths in mm, brightness relative to the brain's."""

    centre: np.ndarray          # (3,)
    axes: np.ndarray            # (3,) half axes
    softness: float             # width of the edge
    push: float                 # how far it pushes the brain aside, as a share of its radius
    t1: float                   # brightness in T1
    flair: float                # brightness in FLAIR
    ring: float                 # brightness of the enhancing rim in post-contrast T1, 0 for none
    cyst: float                 # share of the radius that is cyst, dark in FLAIR, 0 for none


def _smooth_noise(random: np.random.Generator, channels: int, wavelength: float,
                  points: np.ndarray) -> np.ndarray:
    """Smooth random fields of mean 0 and standard deviation about 1 on a grid of points.

    Args:
        channels: how many fields.
        wavelength: mm between the random values, which cubic splines join.
        points: (S, H, W, 3), mm; only its shape and its extent along the axes matter.
    Returns:
        (channels, S, H, W)
    """
    extent = [np.linalg.norm(points[end] - points[0, 0, 0])
              for end in ((-1, 0, 0), (0, -1, 0), (0, 0, -1))]
    nodes = [int(np.ceil(length / wavelength)) + 2 for length in extent]
    z, y, x = (ndimage.zoom(np.eye(count), (size / count, 1), order=3, mode="nearest")
               for count, size in zip(nodes, points.shape[:3], strict=True))
    values = random.standard_normal((channels, *nodes))
    values = y @ (values @ x.T)                                         # (channels, nodes, H, W)
    return 1.3 * np.einsum("sn,cnhw->cshw", z, values, optimize=True)


def _slice_points(random: np.random.Generator, slices: int, pixel: float) -> np.ndarray:
    """Compute where a patient's slices lie in the template: (S, COARSE, COARSE, 3), posed and bent.

    Rows run from front to back, columns from the patient's right to the left, as radiologists look.
    """
    z = np.linspace(random.uniform(-106, -80), random.uniform(88, 100), slices)
    half = np.linspace(-0.5, 0.5, COARSE) * (PIXELS - 1) * pixel
    z, y, x = np.meshgrid(z, -half - 5, -half, indexing="ij")
    points = np.stack([x, y, z], axis=-1)
    turn, nod, tilt = np.radians(random.normal(0, [4, 6, 3]))
    rotation = np.eye(3)
    for axis, angle in enumerate((nod, tilt, turn)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        plane = np.eye(3)
        plane[a, a] = plane[b, b] = np.cos(angle)
        plane[a, b], plane[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ plane
    points = points @ (rotation / random.normal(1, 0.05, 3)).T + random.normal(0, 4, 3)
    bend = 2.2 * _smooth_noise(random, 3, 55, points) + 0.6 * _smooth_noise(random, 3, 20, points)
    return points + np.moveaxis(bend, 0, -1)


def _spread(number: int, seed: int) -> tuple[float, float]:
    """Draw size and brightness of a patient's tumour, spread evenly over the patients of a twin.

    So that no student's twin has small and faint tumours alone, however few patients it has: from a
    random start, both walk through the shares of their distribution, in steps of an irrational
    number (the golden ratio, √3), which never come back to where they were.

    Returns:
        Radius in mm and brightness in FLAIR, distributed as _draw_glioma draws them.
    """
    steps = number * np.array([0.6180339887, 0.7320508076])
    size, flair = ndtri((np.random.default_rng(seed).random(2) + steps) % 1)
    return 30 * np.exp(0.26 * size), 1.74 * np.exp(0.17 * flair)


def _draw_glioma(random: np.random.Generator, seeds: np.ndarray,
                 spread: tuple[float, float] | None = None) -> Glioma:
    """Draw a tumour; `spread` decides its radius and FLAIR in place of chance."""
    radius = spread[0] if spread else random.lognormal(np.log(30), 0.26)
    return Glioma(centre=seeds[random.integers(len(seeds))],
                  axes=np.clip(radius, 13, 38) * random.lognormal(0, 0.18, 3),
                  softness=random.uniform(1.0, 4.0),
                  push=random.uniform(0.05, 0.35), t1=random.normal(0.82, 0.12),
                  flair=max(spread[1] if spread else random.lognormal(np.log(1.74), 0.17), 1.2),
                  ring=random.uniform(1.4, 2.2) if random.random() < 0.25 else 0.0,
                  cyst=random.uniform(0.3, 0.6) if random.random() < 0.10 else 0.0)


def mass_effect(glioma: Glioma, points: np.ndarray) -> np.ndarray:
    """Compute where in the healthy template the tissue at these points came from.

    The brain is pushed outwards, most at the tumour's edge; less towards the skull, which stays.

    Args:
        points: (S, H, W, 3)
    Returns:
        (S, H, W, 3)
    """
    away = (points - glioma.centre) / glioma.axes
    level = np.linalg.norm(away, axis=-1, keepdims=True)
    # The shift, level * exp((1 - level²) / 2) radii, is 1 at the edge and 0.06 at three radii.
    shift = glioma.push * glioma.axes * away * np.exp((1 - level ** 2) / 2)
    return points - shift * np.clip(-anatomy.head_at(points)[0, ..., None] / 15, 0, 1)


def _add_glioma(mix: torch.Tensor, glioma: Glioma, level: torch.Tensor, texture: torch.Tensor,
                matter: torch.Tensor) -> torch.Tensor:
    """Paint the tumour into mix (3, n); returns its mask (n,) as a reader draws it.

    Args:
        level: (n,) 0 at the centre, 1 at the edge.
        texture: (n,) texture.
        matter: (2, n) grey and white matter.
    """
    mask = torch.zeros(level.shape, dtype=torch.bool)
    near = torch.nonzero(level < 2.2)[:, 0]                             # nothing is painted beyond
    level, texture, (grey, white) = level[near], texture[near], matter[:, near]
    level = level * (1 + 0.08 * (grey - white))                         # it follows white matter
    radius = float(glioma.axes.mean())
    brain = ((grey + white) * 3).clamp(0, 1)                            # not in the ventricles
    amount = torch.sigmoid((1 - level) * radius / glioma.softness) * brain
    colour = torch.tensor([[glioma.t1], [glioma.flair], [glioma.t1]]) * (1 + 0.10 * texture)
    if glioma.cyst:
        cyst = torch.sigmoid((glioma.cyst - level) * radius / 1.5)
        colour = colour + cyst * (torch.tensor([[0.45], [0.40], [0.45]]) - colour)
    if glioma.ring:
        rim = torch.exp(-(((level - max(glioma.cyst, 0.5)) * radius / 2.5) ** 2))
        colour[2] = colour[2] + rim * (glioma.ring - colour[2])
    mix[:, near] += (amount * (colour - mix[:, near])).to(mix.dtype)
    # Two readers agree to about 0.84 DSC on the real set, so the outline is not exact here either.
    mask[near] = (level + 0.05 * texture < 1) & (brain > 0.5)
    return mask


def _add_distractors(mix: torch.Tensor, white: torch.Tensor, points: torch.Tensor,
                     random: np.random.Generator) -> None:
    """Paint white-matter hyperintensities, bright in FLAIR, that nobody labels into mix (3, n).

    Half of them lie deep, around the ventricles.
    """
    atlas = anatomy.load()
    for spot in range(min(random.poisson(random.exponential(6)), 25)):
        seeds = atlas.deep if spot % 2 else atlas.seeds
        centre = torch.from_numpy(seeds[random.integers(len(seeds))]).float()
        radius = random.uniform(2, 5) * torch.from_numpy(random.lognormal(0, 0.3, 3)).float()
        level = (((points - centre) / radius) ** 2).sum(dim=1)
        mix[1] += torch.exp(-level) * white * random.uniform(0.2, 0.6)


def _lacking(number: int) -> tuple[int, ...]:
    """List sequences that a patient lacks: 9 % lack post-contrast, two in three of them T1 as well.

    Of 110 real patients 9 lack post-contrast and 6 of these T1. Every eleventh of ours does, not
    one in eleven by chance, so that small sets have their share.
    """
    if number % 11 != 5:
        return ()
    return (2,) if number // 11 % 3 == 1 else (0, 2)


def _scan(mix: torch.Tensor, noise: float, random: np.random.Generator) -> np.ndarray:
    """Scan as it is stored: noise is added to (3, S, H, W) and the range cut to 0 … 255."""
    disturbed = torch.from_numpy(random.standard_normal(mix.shape, dtype=np.float32)) * noise
    # Rician, as magnitude MRI is; another channel's noise serves as the imaginary part.
    mix = torch.hypot(mix + disturbed, disturbed.roll(1, dims=0))
    gain = torch.from_numpy(random.lognormal(np.log(60), 0.28, (3, 1, 1, 1))).float()
    image = (mix * gain).clamp(0, 255)
    return image.movedim(0, -1).round().to(torch.uint8).numpy()


def _enlarge(*fields: np.ndarray) -> torch.Tensor:
    """Enlarge fields (C, S, COARSE, COARSE), laid one behind the other: (C', S, PIXELS, PIXELS)."""
    return functional.interpolate(torch.from_numpy(np.concatenate(fields)), mode="bilinear",
                                  size=(PIXELS, PIXELS), align_corners=True)


@torch.no_grad()
def make_patient(number: int, seed: int = 42) -> tuple[str, np.ndarray, np.ndarray]:
    """Make patient `number` of the twin.

    Returns:
        name, image (S, 256, 256, 3) uint8, mask (S, 256, 256) uint8 of 0 and 255.
    """
    random = np.random.default_rng([seed, number])
    site = str(random.choice(list(SITES), p=[values[0] for values in SITES.values()]))
    _, pixel, noise, bias, slices = SITES[site]
    where = _slice_points(random, int(random.choice(slices)), pixel * random.normal(1, 0.02))
    glioma = _draw_glioma(random, anatomy.load().seeds,
                          None if seed == USUAL else _spread(number, seed))
    level = np.linalg.norm((where - glioma.centre) / glioma.axes, axis=-1)
    # Bulges and fingers of the tumour come from smooth fields; few gliomas cross the midline.
    level *= (1 + 0.12 * _smooth_noise(random, 1, 22, where)[0]
              + 0.04 * _smooth_noise(random, 1, 9, where)[0]
              + 0.6 * np.clip(-np.sign(glioma.centre[0]) * where[..., 0] / 8, 0, 1))
    fine = _enlarge(np.moveaxis(mass_effect(glioma, where), -1, 0), level[None])
    smooth = _enlarge(anatomy.head_at(where)[1:2], *(field.astype(np.float32) for field in (
        _smooth_noise(random, 1, 11, where), 0.3 * _smooth_noise(random, 1, 60, where),
        bias * _smooth_noise(random, 3, 110, where))))
    head = torch.nonzero(smooth[0].ravel() > -5)[:, 0]              # (n,) pixels, all but the air
    points, level = fine[:3].flatten(1)[:, head].T.float(), fine[3].ravel()[head]
    texture, hot, *shade = smooth[1:].flatten(1)[:, head]
    mix, matter = anatomy.paint(points, hot, random)
    mask = torch.zeros(smooth[0].shape, dtype=torch.uint8)
    mask.view(-1)[head] = 255 * _add_glioma(mix, glioma, level, texture, matter).to(torch.uint8)
    _add_distractors(mix, matter[1], points, random)
    image = torch.zeros(3, *mask.shape)
    image.view(3, -1)[:, head] = mix.clamp(min=0) * torch.exp(torch.stack(shade))
    image = _scan(image, noise, random)
    for channel in _lacking(number):
        image[..., channel] = image[..., 1]
    return name_patient(site, number, seed), image, mask.numpy()


def make_twin(patients: int, seed: int = 42) -> Path:
    """Make the twin as a folder in the cache, where it is not there yet.

    Args:
        patients: how many, at least 1.
        seed: another seed, other patients; at least 0.
    Returns:
        The folder, with one folder per patient. It appears when all of it is written.
    Raises:
        CourseError: an argument is no such number, or the cache cannot be written to.
    """
    patients = whole_number(patients, "patients", "make_twin")
    seed = whole_number(seed, "seed", "make_twin", least=0)
    final = settings.cache_folder() / f"lgg-phantom-v{VERSION}-{patients}-seed{seed}"
    if final.is_dir():
        return final
    if not files.can_write(final.parent):
        raise CourseError(what="the twin cannot be written", where=str(final.parent),
                          cure="set COURSE_CACHE to a folder that can be written to")
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".lgg-phantom-") as temporary:
        made = Path(temporary) / "twin"
        anatomy.load()                  # once, before the threads ask for it
        with ThreadPoolExecutor(min(8, os.cpu_count())) as pool:        # up to 0.7 GB each
            list(pool.map(lambda number: write_patient(made, *make_patient(number, seed)),
                          range(patients)))
        try:
            os.rename(made, final)
        except OSError:
            if not final.is_dir():      # else another process was faster: its twin is the same
                raise
    return final


def write_patient(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    """Write slices as the real set has them: <name>/<name>_<n>.tif and …_<n>_mask.tif, n from 1."""
    (folder / name).mkdir(parents=True)
    for number, (slice_image, slice_mask) in enumerate(zip(image, mask, strict=True), start=1):
        tifffile.imwrite(folder / name / f"{name}_{number}.tif", slice_image, photometric="rgb")
        tifffile.imwrite(folder / name / f"{name}_{number}_mask.tif", slice_mask)
