"""Medical image segmentation, small enough to be read in an afternoon.

Importing the package loads next to nothing; take what you need:
`from course_lib import data, models`.
"""
