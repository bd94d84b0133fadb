"""Data sets: fetched, read, checked, prepared, split by patient."""


from course_lib.data.download import fetch
from course_lib.data.slices import Patient, SliceDataset, find_patients, read_patient
from course_lib.data.split import Split, reference_split, split_patients

__all__ = ["Patient", "SliceDataset", "Split", "fetch", "find_patients", "read_patient",
           "reference_split", "split_patients"]
