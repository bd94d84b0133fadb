"""CPU time of our imports beyond torch's, in fresh interpreters: `python imports.py`."""

import argparse
import os
import subprocess
import sys

NOTHING, TORCH = "pass", "import torch"
PACKAGE = "import torch, course_lib"
LESSON = "import torch; from course_lib import data, models"
ALL = "import torch; from course_lib import data, models, train, predict, losses, augment"
HEAVY = ("matplotlib", "scipy.stats", "tensorboard", "skimage", "pandas", "nilearn", "IPython")
WANTED = 5                                       # per cent beyond torch


def cpu_seconds(code: str) -> float:
    """Measure user and system time of an interpreter that does this and ends."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return (after.children_user - before.children_user
            + after.children_system - before.children_system)


def slowest(code: str, count: int) -> list[tuple[str, float]]:
    """List modules by their own milliseconds, of those that torch does not bring."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], check=True,
                          capture_output=True, text=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()
            if line.startswith("import time:") and "self" not in line]
    names = [row[2].strip() for row in rows]
    ours = rows[names.index("torch") + 1:]
    table = [(name.strip(), int(own) / 1000) for own, _, name in ours]
    return sorted(table, key=lambda row: -row[1])[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=8)
    o = parser.parse_args()
    codes = (NOTHING, TORCH, PACKAGE, LESSON, ALL)
    took = {code: [] for code in codes}
    for _ in range(o.repeats):
        for code in codes:
            took[code].append(cpu_seconds(code))
    best = {code: min(times) for code, times in took.items()}
    torch_alone = best[TORCH] - best[NOTHING]
    for code in codes[1:]:
        share = 100 * (best[code] - best[TORCH]) / torch_alone
        print(f"{best[code]:.2f} CPU s, {share:+.1f} % of torch's: {code}")
    print("slowest by themselves: " + ", ".join(f"{name} {own:.0f} ms"
                                                for name, own in slowest(ALL, 6)))
    loaded = subprocess.run(
        [sys.executable, "-c", f"{LESSON}; import sys; print([m for m in {HEAVY} "
                               "if m in sys.modules])"], check=True, capture_output=True, text=True)
    print(f"heavy ones that data and models bring along: {loaded.stdout.strip()}")
    share = 100 * (best[PACKAGE] - best[TORCH]) / torch_alone
    print(f"import course_lib: {share:.1f} % CPU beyond torch's (target at most {WANTED})")


if __name__ == "__main__":
    main()
