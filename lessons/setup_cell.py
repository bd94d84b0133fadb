import importlib.util, subprocess, sys, time

needs = {"course_lib": "git+REPOSITORY@vVERSION", "nilearn": "nilearn"}
missing = [needs[name] for name in needs if not importlib.util.find_spec(name)]
pip = [sys.executable, "-m", "pip", "install", "--no-deps", *missing]
if missing and subprocess.run(pip, capture_output=True).returncode:   # Colab: once
    sys.exit(f"pip could not install {missing}: no network? (On Kaggle: Internet on.)")
importlib.invalidate_caches()
import numpy as np
import torch
from course_lib import (augment, check, data, doctor, losses, metrics, models, predict,
                        settings, show, stats, tables, train)

PROFILE = settings.profile()      # "tiny", "cpu" or "gpu": how much is computed
SEED = 42
KEEP_ON_DRIVE = False             # on Colab, True keeps trainings on your Google Drive
print(doctor.begin(PROFILE, KEEP_ON_DRIVE))
