"""A simulated twin of the LGG set: real anatomy, invented patients, no download.

Anatomy is the MNI152 template (T1, grey matter, white matter; 1 mm) that nilearn carries in its
wheel (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033). Each patient bends it by a smooth
random deformation and a pose, gets a head around the brain, a glioma, unlabelled distractors, three
contrasts, a bias field, noise, and the slice thickness and scanner of a site. Files and folders are
as in the Kaggle LGG set, but names begin with TWIN, so that no simulated patient passes for a real
one. The same seed gives the same patients; patient number i does not depend on how many are made.

All lengths are in mm; points are (x, y, z) in MNI space: to the right, to the front, upwards.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy import ndimage
from torch.nn import functional

from course_lib import settings
from course_lib.data import cache
from course_lib.errors import CourseError

VERSION = 1               # raise it when the twin changes
PIXELS = 256
# Brightness of each tissue in the three sequences, white matter in T1 being 0.6.
#                 pre-contrast, FLAIR, post-contrast
TISSUES = {"white": (0.60, 0.42, 0.60), "grey": (0.46, 0.52, 0.48), "fluid": (0.18, 0.10, 0.18),
           "bone": (0.06, 0.05, 0.06), "fat": (1.00, 0.72, 0.95), "muscle": (0.40, 0.38, 0.50),
           "eye": (0.16, 0.12, 0.16)}
# Site code as in the real set: share of patients, slice thickness, pixel, noise, bias, fat gain.
SITES = {"CS": (0.15, 5.5, 0.90, 0.020, 0.15, 1.6), "DU": (0.40, 5.0, 0.94, 0.015, 0.10, 1.0),
         "EZ": (0.05, 6.0, 0.90, 0.030, 0.20, 1.2), "FG": (0.10, 5.0, 0.82, 0.030, 0.20, 0.8),
         "HT": (0.30, 5.5, 0.94, 0.020, 0.15, 1.3)}


@dataclass(frozen=True)
class Glioma:
    """What one patient's tumour is like. Lengths in mm, brightness relative to white matter."""

    centre: np.ndarray          # (3,)
    axes: np.ndarray            # (3,) half axes
    softness: float             # width of the edge
    flair: float                # brightness in FLAIR
    t1: float                   # brightness in T1
    ring: float                 # brightness of the enhancing rim in post-contrast T1, 0 for none
    cyst: float                 # share of the radius that is cyst, dark in FLAIR, 0 for none


@lru_cache(maxsize=1)
def _atlas() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Channels (grey, white, T1, distance to the brain's surface / 100 mm) as (4, Z, Y, X),
    the corner (x, y, z) of the first voxel, and points in the cerebrum where a glioma may start."""
    from nilearn import datasets as nilearn_data

    grey, white, t1 = (load(resolution=1) for load in (
        nilearn_data.load_mni152_gm_template, nilearn_data.load_mni152_wm_template,
        nilearn_data.load_mni152_template))
    corner = torch.tensor(t1.affine[:3, 3], dtype=torch.float32)
    grey, white, t1 = (image.get_fdata(dtype=np.float32) for image in (grey, white, t1))
    coarse = ndimage.binary_closing(np.pad(t1[::2, ::2, ::2] > 0.1, 8), iterations=6)
    coarse = ndimage.binary_fill_holes(coarse[8:-8, 8:-8, 8:-8])
    outside, inside = (ndimage.distance_transform_edt(part) for part in (~coarse, coarse))
    distance = ndimage.gaussian_filter(2 * (outside - inside), 1.5)
    distance = ndimage.zoom(distance, np.divide(t1.shape, distance.shape), order=1)
    distance = distance.astype(np.float32)
    seeds = np.argwhere((white > 0.6) & (distance < -6))[::7] + np.asarray(corner)
    seeds = seeds[(seeds[:, 2] > -15) & (np.abs(seeds[:, 0]) > 8)]      # cerebrum, off the midline
    channels = [torch.from_numpy(part).permute(2, 1, 0)
                for part in (grey, white, t1, distance / 100)]
    return torch.stack(channels), corner, seeds


def _sample(volume: torch.Tensor, corner: torch.Tensor, step: float,
            points: torch.Tensor) -> torch.Tensor:
    """Trilinear values of (C, Z, Y, X) at points (S, H, W, 3); beyond the border, the border's."""
    size = torch.tensor(volume.shape[:0:-1], dtype=torch.float32)       # (X, Y, Z)
    grid = 2 * (points - corner) / (step * (size - 1)) - 1
    return functional.grid_sample(volume[None], grid[None], mode="bilinear", padding_mode="border",
                                  align_corners=True)[0]                # (C, S, H, W)


def _smooth_noise(random: np.random.Generator, channels: int, wavelength: float,
                  points: torch.Tensor) -> torch.Tensor:
    """Smooth random fields of mean 0 and standard deviation about 1 on a grid of points.

    Args:
        channels: how many fields.
        wavelength: mm between the random values that are interpolated linearly.
        points: (S, H, W, 3), mm; only its shape and its extent along the axes matter.
    Returns:
        (channels, S, H, W)
    """
    extent = [float((points[tuple(end)] - points[0, 0, 0]).norm()) for end in
              ((-1, 0, 0), (0, -1, 0), (0, 0, -1))]
    nodes = [int(np.ceil(length / wavelength)) + 2 for length in extent]
    values = torch.from_numpy(random.standard_normal((1, channels, *nodes), dtype=np.float32))
    return 1.4 * functional.interpolate(values, size=points.shape[:3], mode="trilinear",
                                        align_corners=True)[0]


def _slice_points(random: np.random.Generator, thickness: float, pixel: float) -> torch.Tensor:
    """Where the voxels of a patient's slices lie in the template: (S, H, W, 3), posed and bent.

    Rows run from front to back, columns from the patient's right to the left, as radiologists look.
    """
    bottom, top = random.uniform(-72, -55), random.uniform(84, 96)
    z = torch.arange(bottom, top, thickness)
    half = (torch.arange(PIXELS) - PIXELS / 2 + 0.5) * pixel
    z, y, x = torch.meshgrid(z, -half - 18, -half, indexing="ij")
    points = torch.stack([x, y, z], dim=-1)
    turn, nod, tilt = np.radians(random.normal(0, [4, 5, 3]))
    rotation = np.eye(3)
    for axis, angle in enumerate((nod, tilt, turn)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        plane = np.eye(3)
        plane[a, a] = plane[b, b] = np.cos(angle)
        plane[a, b], plane[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ plane
    pose = torch.from_numpy((rotation / random.normal(1, 0.05, 3)).astype(np.float32))
    points = points @ pose.T + torch.from_numpy(random.normal(0, 4, 3).astype(np.float32))
    bend = _smooth_noise(random, 3, 50, points).movedim(0, -1) * 3.0
    ripple = _smooth_noise(random, 3, 18, points).movedim(0, -1) * 0.8
    return points + bend + ripple


def _draw_glioma(random: np.random.Generator, seeds: np.ndarray) -> Glioma:
    radius = np.clip(random.lognormal(np.log(25), 0.33), 10, 42)
    return Glioma(centre=seeds[random.integers(len(seeds))],
                  axes=radius * random.lognormal(0, 0.22, 3), softness=random.uniform(1.0, 4.0),
                  flair=random.uniform(1.75, 2.7), t1=random.uniform(0.55, 0.95),
                  ring=random.uniform(1.3, 2.0) if random.random() < 0.35 else 0.0,
                  cyst=random.uniform(0.3, 0.6) if random.random() < 0.12 else 0.0)


def _head(atlas: torch.Tensor, points: torch.Tensor, random: np.random.Generator,
          fat_gain: float) -> torch.Tensor:
    """Brightness of a healthy head: (3, S, H, W)."""
    grey, white, t1, distance = atlas
    distance = 100 * distance                                           # mm, negative inside
    tissue = {name: torch.tensor(values) * torch.from_numpy(random.normal(1, 0.06, 3))
              for name, values in TISSUES.items()}
    tissue["fat"] = tissue["fat"] * fat_gain * random.uniform(0.8, 1.3)
    fluid = (1 - grey - white).clamp(0, 1)
    mix = sum(share * tissue[name].float()[:, None, None, None]
              for name, share in (("grey", grey), ("white", white), ("fluid", fluid)))
    # The template's own T1 adds the detail that three classes lack.
    detail = t1 - (0.80 * white + 0.62 * grey + 0.2 * fluid)
    mix = mix + detail * torch.tensor([0.30, 0.12, 0.30])[:, None, None, None]
    # Around it: fluid, bone, scalp, and below the brain a face of muscle with two eyes in fat.
    texture = _smooth_noise(random, 2, 9, points)
    skull, scalp = random.uniform(6, 9), random.uniform(12, 18)
    face = (points - torch.tensor([0.0, 22.0, -78.0])) / torch.tensor([66.0, 76.0, 58.0])
    depth = torch.minimum(distance - scalp, 45 * (face.norm(dim=-1) - 1))
    depth = depth + 1.5 * texture[0]                                    # mm, 0 at the skin

    def paint(name, where):
        return torch.where(where, tissue[name].float()[:, None, None, None], mix)

    mix = paint("fluid", distance > 0.5)
    mix = paint("bone", distance > 2.5)
    mix = paint("muscle", (distance > skull) & (texture[1] > -1.2))
    mix = paint("fat", (distance > skull) & ((depth > -5) | (texture[1] > 1.1)))
    for side in (-32.0, 32.0):
        eye = (points - torch.tensor([side, 66.0, -42.0])).norm(dim=-1)
        mix = paint("fat", (eye < 17) & (distance > 2.5))
        mix = paint("eye", (eye < 12) & (distance > 2.5))
    return mix * (depth < 0)


def _add_glioma(mix: torch.Tensor, glioma: Glioma, atlas: torch.Tensor, points: torch.Tensor,
                random: np.random.Generator) -> torch.Tensor:
    """Paint the tumour into mix (3, S, H, W); returns its mask (S, H, W) as a reader draws it."""
    centre, axes = (torch.from_numpy(values).float() for values in (glioma.centre, glioma.axes))
    level = ((points - centre) / axes).norm(dim=-1)
    mask = torch.zeros(level.shape, dtype=torch.bool)
    near = tuple(slice(int(found.min()), int(found.max()) + 1)     # nothing is painted beyond
                 for found in torch.nonzero(level < 2.2, as_tuple=True))
    level, points, atlas, mix = level[near], points[near], atlas[:, *near], mix[:, *near]
    shape, edge, inside = (_smooth_noise(random, 1, wavelength, points)[0]
                           for wavelength in (22, 9, 6))
    radius = float(glioma.axes.mean())
    # 0 at the centre, 1 at the edge; bulges and fingers come from the smooth fields.
    level = level * (1 + 0.16 * shape + 0.05 * edge)
    brain = ((-100 * atlas[3] - 0.5) / 2).clamp(0, 1) * ((atlas[0] + atlas[1]) * 2).clamp(0, 1)
    amount = torch.sigmoid((1 - level) * radius / glioma.softness) * brain
    white = torch.tensor(TISSUES["white"])
    bright = white * torch.tensor([glioma.t1, glioma.flair, glioma.t1])
    colour = bright[:, None, None, None] * (1 + 0.08 * inside)
    if glioma.cyst:
        cyst = torch.sigmoid((glioma.cyst - level) * radius / 1.5)
        fluid = torch.tensor([0.25, 0.20, 0.25])[:, None, None, None]
        colour = colour + cyst * (fluid - colour)
    if glioma.ring:
        rim = torch.exp(-(((level - max(glioma.cyst, 0.5)) * radius / 2.5) ** 2))
        colour[2] = colour[2] + rim * (glioma.ring * white[2] - colour[2])
    # Two readers agree to about 0.84 DSC on the real set, so the outline is not exact here either.
    mask[near] = (level + 0.05 * inside < 1) & (brain > 0.5)
    mix += amount * (colour - mix)
    return mask


def _add_distractors(mix: torch.Tensor, atlas: torch.Tensor, points: torch.Tensor,
                     seeds: np.ndarray, random: np.random.Generator) -> None:
    """Paint small bright spots into FLAIR that nobody labels: white-matter hyperintensities."""
    for _ in range(random.poisson(3)):
        centre = torch.from_numpy(seeds[random.integers(len(seeds))]).float()
        spot = torch.exp(-((points - centre).norm(dim=-1) / random.uniform(2, 5)) ** 2)
        mix[1] += spot * atlas[1] * random.uniform(0.2, 0.4)


@torch.no_grad()
def make_patient(number: int, seed: int = 42) -> tuple[str, np.ndarray, np.ndarray]:
    """Patient `number` of the twin.

    Returns:
        name, image (S, 256, 256, 3) uint8, mask (S, 256, 256) uint8 of 0 and 255.
    """
    random = np.random.default_rng([seed, number])
    site = str(random.choice(list(SITES), p=[values[0] for values in SITES.values()]))
    _, thickness, pixel, noise, bias, fat_gain = SITES[site]
    date = f"{2000 + number % 10}{1 + number % 12:02d}{1 + number % 28:02d}"
    name = f"TWIN_{site}_{number:04d}_{date}"
    volume, corner, seeds = _atlas()
    points = _slice_points(random, thickness * random.uniform(0.9, 1.1),
                           pixel * random.normal(1, 0.02))
    atlas = _sample(volume, corner, 1.0, points)
    mix = _head(atlas, points, random, fat_gain)
    mask = _add_glioma(mix, _draw_glioma(random, seeds), atlas, points, random)
    _add_distractors(mix, atlas, points, seeds, random)
    mix = mix.clamp(min=0) * torch.exp(bias * _smooth_noise(random, 3, 110, points))
    disturbed = torch.from_numpy(random.standard_normal(mix.shape, dtype=np.float32)) * noise
    # Rician, as magnitude MRI is; another channel's noise serves as the imaginary part.
    mix = torch.hypot(mix + disturbed, disturbed.roll(1, dims=0))
    brightest = torch.quantile(mix[:, ::2, ::8, ::8].reshape(3, -1), 0.995, dim=1)
    image = (mix / brightest[:, None, None, None] * random.uniform(0.75, 1.0) * 255).clamp(0, 255)
    image = image.movedim(0, -1).round().to(torch.uint8).numpy()
    return name, image, mask.to(torch.uint8).numpy() * 255


def make_twin(patients: int, seed: int = 42) -> Path:
    """The twin as a folder in the cache; made where it is not there yet.

    Args:
        patients: how many, at least 1.
        seed: another seed, other patients.
    Returns:
        The folder, with one folder per patient. It appears when all of it is written.
    """
    if patients < 1:
        raise CourseError(what=f"patients={patients}", where="make_twin", cure="make at least one")
    final = settings.cache_folder() / f"lgg-phantom-v{VERSION}-{patients}-seed{seed}"
    if final.is_dir():
        return final
    if not cache.can_write(final.parent):
        raise CourseError(what="the twin cannot be written", where=str(final.parent),
                          cure="set COURSE_CACHE to a folder that can be written to")
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".lgg-phantom-") as temporary:
        made = Path(temporary) / "twin"
        _atlas()                        # once, before the threads ask for it
        with ThreadPoolExecutor(os.cpu_count()) as pool:
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
