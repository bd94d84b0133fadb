"""Augmentation as batched tensor operations on the device: (image, target, generator) -> both."""

from course_lib.augment.intensity import Scanner
from course_lib.augment.spatial import Affine, Compose

AUGMENTS = {"Affine": Affine, "Scanner": Scanner, "Compose": Compose}   # to rebuild a run

__all__ = ["AUGMENTS", "Affine", "Compose", "Scanner"]
