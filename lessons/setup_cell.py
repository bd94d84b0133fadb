import importlib.metadata
import os
import time

import numpy as np
import torch

from course_lib import (augment, check, data, losses, metrics, models, predict, settings, show,
                        stats, train)

PROFILE = settings.profile()      # "tiny", "cpu" or "gpu": how much is computed
SEED = 42
print(f"profile {PROFILE}, device {settings.device()}, {os.cpu_count()} cores, "
      f"torch {torch.__version__}, course_lib {importlib.metadata.version('course-lib')}; "
      f"runs go to {settings.runs_folder()}")
