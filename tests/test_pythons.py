"""A fresh clone in an empty environment, on the other Pythons: minutes and several GB each."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("python", ["python3.12", "python3.13"])
def test_a_fresh_clone_passes_make_test(python, tmp_path):
    if not shutil.which(python) or subprocess.run([python, "--version"]).returncode:
        pytest.skip(f"{python} is not installed here")
    subprocess.run(["git", "clone", "-q", CHECKOUT, tmp_path / "clone"], check=True)
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("COURSE_", "VIRTUAL_ENV", "PYTHON"))}
    found = subprocess.run(["make", "test", f"PYTHON={python}"], cwd=tmp_path / "clone", env=kept,
                           text=True, capture_output=True)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
