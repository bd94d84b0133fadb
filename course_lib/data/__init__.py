"""Data sets: fetched, read, checked, prepared, split by patient."""

from course_lib.data.checking import Findings, verify
from course_lib.data.download import fetch
from course_lib.data.geometry import Prepared, prepare, restore
from course_lib.data.slices import SliceDataset
from course_lib.data.split import Split, folds, reference_split, split_patients
from course_lib.data.tif import Patient, find_patients, read_patient

__all__ = ["Findings", "Patient", "Prepared", "SliceDataset", "Split", "fetch", "find_patients",
           "folds", "prepare", "read_patient", "reference_split", "restore", "split_patients",
           "verify"]
