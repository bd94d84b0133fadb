"""The healthy head that the twin's patients are made of: a real brain, a drawn head around it.

The brain is the MNI152 template (T1, grey matter, white matter; 1 mm) that nilearn carries in its
wheel (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033). It ends at the brain's surface, so
skull, scalp and face are drawn around it from ellipsoids: coarse, but with the bright fat, dark
air and grey muscle that a network meets in real slices.

All lengths are in mm; points are (x, y, z) in MNI space: to the right, to the front, upwards.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

# Brightness of each tissue in the three sequences; the brain is about 1 in all of them.
#              pre-contrast, FLAIR, post-contrast
TISSUES = {"white": (1.03, 0.94, 1.03), "grey": (0.90, 1.09, 0.94), "fluid": (0.32, 0.22, 0.34),
           "muscle": (0.95, 0.60, 1.15), "fat": (2.30, 2.45, 2.10)}
# What is not brain is one number: 0 is bone and air, 1 is fat, and in between lie:
AIR, EYE, MUSCLE, MARROW = 0.02, 0.10, 0.38, 0.60
STEP = 2.0                                     # mm, voxels of the drawn head
CORNER = np.array([-100.0, -140.0, -116.0])    # its first voxel
SHAPE = (120, 134, 101)                        # Z, Y, X
# Skin: centre and half axes of ellipsoids (face, nose, neck, ears) that enlarge the brain's hull.
SKIN = [((0, 20, -66), (67, 72, 80)), ((0, 90, -72), (15, 24, 28)), ((0, -42, -84), (64, 66, 66)),
        ((80, -18, -48), (7, 13, 26)), ((-80, -18, -48), (7, 13, 26))]
# Parts of face and neck, painted in this order: value, centre, half axes; x > 0 on both sides.
FACE = [(MUSCLE, (24, -74, -92), (24, 34, 44)), (MUSCLE, (52, 24, -84), (11, 26, 40)),
        (MUSCLE, (30, 14, -78), (13, 24, 28)), (MUSCLE, (66, 22, -20), (7, 28, 36)),
        (MUSCLE, (46, -46, -92), (10, 22, 40)), (MUSCLE, (0, 16, -98), (30, 30, 20)),
        (MUSCLE, (0, 2, -38), (12, 14, 16)), (MARROW, (0, -4, -62), (20, 16, 18)),
        # spine: muscle before it, bone, marrow, fluid, cord
        (MUSCLE, (0, -2, -96), (26, 15, 26)), (AIR, (0, -34, -100), (25, 21, 32)),
        (MARROW, (21, -32, -92), (7, 10, 9)), (EYE, (0, -37, -100), (10, 9, 36)),
        (MUSCLE, (0, -37, -100), (6, 5, 38)),
        # bone behind the ears, throat, nose with septum and conchae, sinuses
        (AIR, (50, -32, -56), (15, 18, 20)), (AIR, (0, 20, -92), (13, 10, 40)),
        (AIR, (0, 58, -66), (14, 42, 27)), (AIR, (10, 50, -42), (8, 26, 15)),
        (AIR, (8, 16, -46), (9, 14, 12)), (MUSCLE, (0, 56, -70), (1.5, 40, 26)),
        (MUSCLE, (7, 50, -74), (2.5, 28, 14)), (AIR, (30, 50, -68), (15, 19, 17)),
        # orbit: fat, eye, lens, optic nerve, two muscles
        (1.0, (31, 54, -42), (18, 30, 17)), (EYE, (33, 64, -42), (12.5, 12.5, 12.5)),
        (MUSCLE, (33, 75, -42), (5, 2.5, 5)), (MUSCLE, (24, 40, -42), (2.5, 20, 3)),
        (MUSCLE, (43, 48, -42), (2.5, 18, 6)), (MUSCLE, (20, 48, -42), (2.5, 18, 6))]


@dataclass(frozen=True)
class Atlas:
    """The template.

    Attributes:
        brain: (3, Z, Y, X) grey matter, white matter, and what T1 shows beyond these two.
        brain_corner: (3,) the point of its first voxel; voxels of 1 mm.
        head: (3, Z, Y, X) distance to the brain's surface in mm, negative inside; depth below the
            skin in mm, negative in the air; and AIR, EYE, MUSCLE … 1, see above.
        seeds: (n, 3) points in white matter where a glioma may start.
        deep: (m, 3) points in white matter far from the surface.
    """

    brain: torch.Tensor
    brain_corner: torch.Tensor
    head: torch.Tensor
    seeds: np.ndarray
    deep: np.ndarray


def _ellipsoid(centre: tuple, axes: tuple, grid: list[np.ndarray]) -> np.ndarray:
    """Estimate the depth below the surface of an ellipsoid, mm; negative outside."""
    level = np.sqrt(sum(((along - middle) / half) ** 2
                        for along, middle, half in zip(grid, centre, axes, strict=True)))
    return (1 - level) * min(axes)


def _draw_head(outside: np.ndarray) -> np.ndarray:
    """Draw (3, Z, Y, X): distance to the brain, depth below the skin, and the face; see Atlas.

    Args:
        outside: (Z, Y, X) distance to the brain's surface.
    """
    z, y, x = np.ogrid[tuple(slice(0, length) for length in SHAPE)]
    grid = [STEP * along + corner for along, corner in zip((x, y, z), CORNER, strict=True)]
    skin = 13.0 - outside
    for centre, axes in SKIN:
        skin = np.maximum(skin, _ellipsoid(centre, axes, grid))
    depth = ndimage.gaussian_filter(skin, 1.2)
    face = 1 - 0.5 * np.clip((depth - 6) / 8, 0, 1)         # deep down, fat and all else mixed
    for value, centre, axes in FACE:
        near = np.flatnonzero(np.abs(grid[2] - centre[2]) < axes[2] + 1 + axes[2] / min(axes))
        rows = slice(near[0], near[-1] + 1)                 # it does not reach beyond these
        for side in (1, -1) if centre[0] else (1,):
            share = _ellipsoid((side * centre[0], *centre[1:]), axes, [*grid[:2], grid[2][rows]])
            face[rows] += np.clip(share + 0.5, 0, 1) * (value - face[rows])
    streaks = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), (3, 1, 1))
    face = face + 0.6 * streaks * np.clip((depth - 6) / 8, 0, 1) * (face > EYE)
    return np.stack([outside, depth, face]).astype(np.float32)


@lru_cache(maxsize=1)
def load() -> Atlas:
    """Load the template, drawn once a process (2 s)."""
    from nilearn import datasets as nilearn_data

    grey, white, t1 = (make(resolution=1) for make in (
        nilearn_data.load_mni152_gm_template, nilearn_data.load_mni152_wm_template,
        nilearn_data.load_mni152_template))
    corner = t1.affine[:3, 3]
    grey, white, t1 = (image.get_fdata(dtype=np.float32).transpose(2, 1, 0)
                       for image in (grey, white, t1))
    brain = np.zeros(SHAPE, bool)                      # on the grid of the drawn head
    shift = [round(float(offset)) for offset in ((corner - CORNER) / STEP)[::-1]]
    coarse = t1[::2, ::2, ::2] > 0.1
    box = tuple(slice(first, first + length)
                   for first, length in zip(shift, coarse.shape, strict=True))
    brain[box] = coarse
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(brain, iterations=4) | brain)
    outside = ndimage.distance_transform_edt(~brain) - ndimage.distance_transform_edt(brain)
    head = _draw_head(ndimage.gaussian_filter(STEP * outside, 1.5))
    seeds = np.argwhere(white > 0.6)[::7, ::-1] + corner
    below = head[0][tuple(((seeds - CORNER) / STEP).round().astype(int).T[::-1])]
    cerebrum = (below < -6) & (seeds[:, 2] > -15) & (np.abs(seeds[:, 0]) > 8)
    channels = [torch.from_numpy(np.ascontiguousarray(part)) for part in
                (grey, white, t1 - (0.80 * white + 0.62 * grey + 0.2 * (1 - grey - white)))]
    return Atlas(torch.stack(channels), torch.from_numpy(corner).float(), torch.from_numpy(head),
                 seeds[cerebrum], seeds[cerebrum & (below < -25)])


def sample(volume: torch.Tensor, corner: torch.Tensor, step: float,
           points: torch.Tensor) -> torch.Tensor:
    """Sample a volume (C, Z, Y, X) at points (n, 3), trilinear: (C, n); its border goes on."""
    size = torch.tensor(volume.shape[:0:-1], dtype=torch.float32)       # (X, Y, Z)
    grid = 2 * (points - corner) / (step * (size - 1)) - 1
    return functional.grid_sample(volume[None], grid[None, None, None], mode="bilinear",
                                  padding_mode="border", align_corners=True)[0, :, 0, 0]


def head_at(points: np.ndarray) -> np.ndarray:
    """Sample distance to the brain, depth below the skin, face (see Atlas) at (…, 3): (3, …)."""
    flat = torch.from_numpy(points.reshape(-1, 3)).float()
    values = sample(load().head, torch.from_numpy(CORNER).float(), STEP, flat)
    return values.numpy().reshape(3, *points.shape[:-1])


def _draw_tissues(random: np.random.Generator) -> dict[str, torch.Tensor]:
    """Draw one patient's brightness of each tissue in the three sequences."""
    tissue = {name: torch.tensor(values) * torch.from_numpy(random.normal(1, 0.04, 3)).float()
              for name, values in TISSUES.items()}
    tissue["fat"] *= torch.from_numpy(random.normal(1, 0.12, 3)).float()
    if random.random() < 0.12:                                # some scanners suppress it there
        tissue["fat"][2] *= 0.5
    tissue["fluid"] *= torch.from_numpy(random.lognormal(0, 0.3, 3)).float()
    tissue["grey"][[0, 2]] -= 0.25 * random.random() ** 2     # some T1 show more contrast
    return tissue


def _paint_brain(tissue: dict, points: torch.Tensor,
                 distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint brightness (3, n) and share of grey and white matter (2, n) at points (n, 3)."""
    atlas = load()
    grey, white, detail = sample(atlas.brain, atlas.brain_corner, 1.0, points)
    # Averaged over many people, the template is blurred: its tissues are set apart again.
    fluid = (1.8 * (1 - grey - white) - 0.3).clamp(0, 1)
    white = (1.8 * white - 0.4).clamp(0, 1) * (1 - fluid)
    grey = 1 - white - fluid
    brain = sum(share * tissue[name][:, None]
                for name, share in (("grey", grey), ("white", white), ("fluid", fluid)))
    brain = brain + detail * torch.tensor([0.5, 0.3, 0.5])[:, None]
    # The great vein along the midline is bright with contrast agent.
    x, y, z = points.T
    vein = ((4 - x.abs()) / 2).clamp(0, 1) * ((distance + 2) / 2).clamp(0, 1)
    brain[2] += vein * ((z > 10) | (y < -70)) * (2.2 - brain[2])
    return brain, torch.stack([grey, white])


def paint(points: torch.Tensor, hot: torch.Tensor,
          random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint a healthy head as one patient's scanner shows it.

    Args:
        points: (n, 3) in the template.
        hot: (n,) logarithm of what the nearest coil adds to the brightness of skin and face.
    Returns:
        brightness (3, n), the brain about 1; and the share of grey and of white matter (2, n).
    """
    tissue = _draw_tissues(random)
    skull, scalp = random.uniform(2.5, 5.5), random.uniform(-5.0, 1.5)  # mm
    distance, depth, face = sample(load().head, torch.from_numpy(CORNER).float(), STEP, points)
    depth = depth + scalp
    # Scalp and face: skin is less bright than the fat below it, and nothing shines in the skull.
    soft = face * (0.5 + 0.5 * ((depth - 1) / 2).clamp(0, 1))
    soft = soft * ((distance - skull) / 1.5).clamp(0, 1)
    muscle, fat = (soft / MUSCLE).clamp(0, 1), ((soft - MUSCLE) / (1 - MUSCLE)).clamp(min=0)
    mix = (muscle * tissue["muscle"][:, None] + fat * (tissue["fat"] - tissue["muscle"])[:, None])
    mix = mix * (depth / 1.5).clamp(0, 1) * torch.exp(hot)
    near = torch.nonzero(distance < 4)[:, 0]
    matter = torch.zeros(2, len(points))
    brain, matter[:, near] = _paint_brain(tissue, points[near], distance[near])
    share = ((3.0 - distance[near]) / 1.5).clamp(0, 1)
    mix[:, near] = mix[:, near] * (1 - share) + share * brain
    return mix, matter
