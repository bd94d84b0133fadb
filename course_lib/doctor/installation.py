"""Python, its environment, and the packages: what is here, and whether it fits together."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from course_lib import settings
from course_lib.doctor.report import Line

# Colab's own packages are tuned to each other: its tensorflow breaks when one is replaced.
COLABS_OWN = {"torch", "torchvision", "numpy", "scipy", "matplotlib", "pillow", "ipywidgets",
              "ipykernel", "tensorboard", "setuptools", "protobuf", "pandas"}
NOT_ON_COLAB = {"jupyterlab", "nbclient", "nbformat", "jupytext", "sphinx", "myst-nb", "furo",
                "sphinx-mathjax-offline", "medpy"}               # nor needed there
OTHER_RUNTIME = "menu Runtime > Change runtime version"
FRESH_RUNTIME = "menu Runtime > Disconnect and delete runtime"
FRONT_ENDS = {7: (1, 2), 8: (3,)}      # ipywidgets to the jupyterlab_widgets that draw them


def installed(name: str) -> str | None:
    """Look up the version of an installed package; None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements() -> dict[str, str]:
    """Map packages to lowest versions, as declared; empty where course_lib is not installed."""
    try:
        lines = importlib.metadata.requires("course-lib") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    pairs = (line.partition(">=") for line in lines if "extra ==" not in line)
    return {name.strip(): lowest.strip() for name, _, lowest in pairs}


def numbers(version: str) -> tuple[int, ...]:
    """Turn 2.15.0+cu128 into (2, 15, 0), to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def on_colab() -> bool:
    """Tell whether this is Colab, or Kaggle: there, too, packages are tuned to each other."""
    return installed("google-colab") is not None or settings.kaggle_working() is not None


def in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this."""
    return "ipykernel.kernelapp" in sys.modules


def pip(arguments: str) -> str:
    """Write the command that installs into this environment, for a notebook or a terminal."""
    if in_notebook():
        return f"%pip install {arguments}"
    return f"{in_command(sys.executable)} -m pip install {arguments}"


def in_command(path: str | Path) -> str:
    """Write a path for a command: from the working folder where it lies there, else from ~."""
    here = settings.working_folder()
    path = Path(path)
    text = str(path.relative_to(here)) if path.is_relative_to(here) else settings.show_path(path)
    return f'"{text.replace("~/", "$HOME/", 1)}"' if " " in text else text    # quoted, ~ is a name


def reinstall(arguments: str) -> str:
    """Write as `pip` does; on Colab, what brings its own packages back."""
    return FRESH_RUNTIME if on_colab() else pip(arguments)


def variable(name: str, value: str) -> str:
    """Write the command that sets an environment variable, for a notebook or a terminal."""
    if in_notebook():
        return f"%env {name}={value}"
    return f"{'set' if os.name == 'nt' else 'export'} {name}={value}"


def first_line(error: Exception | str) -> str:
    """Take the first line of an error, or its name where it has no words."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def package(name: str) -> Line:
    """Check that a package is here, as new as course_lib declares, and the one that is loaded."""
    version, lowest = installed(name), requirements().get(name, "0")
    if version and numbers(version) >= numbers(lowest):
        loaded = getattr(sys.modules.get(name), "__version__", version)
        if numbers(loaded) != numbers(version):
            return Line("WARN", name, f"{version} is installed, but {loaded} is loaded",
                        "restart the kernel")
        return Line("OK", name, version)
    text = version or "not installed"
    text += f"; the course needs {lowest} or newer" if lowest != "0" else ""
    if on_colab() and name in COLABS_OWN:        # it may work all the same, and pip would break it
        return Line("WARN", name, f"{text}. It is Colab's own, so install no other", OTHER_RUNTIME)
    wanted = name if lowest == "0" else f'"{name}>={lowest}"'
    return Line("FIX", name, text, pip(f"{'--no-deps ' if on_colab() else ''}{wanted}"))


def check_environment() -> Iterator[Line]:
    """Check that the packages lie in an environment of their own, and in the right one."""
    prefix, home = Path(sys.prefix), settings.checkout()
    ours = home / ".venv" if home else None
    above = os.path.relpath(home) if home else "."           # the checkout lies at or above us
    go_there = "" if above == "." else f"cd {above} && "
    activate = r".venv\Scripts\activate" if os.name == "nt" else "source .venv/bin/activate"
    who = "the kernel's Python" if in_notebook() else "this Python"
    if on_colab():
        yield Line("OK", "environment", "Colab's own, fresh in every session")
    elif ours and (ours / "pyvenv.cfg").is_file() and ours.resolve() != prefix.resolve():
        yield Line("WARN", "environment", f"{who} is {settings.show_path(sys.executable)}, not "
                   f"the course's own, {settings.show_path(ours)}", f"{go_there}{activate}")
    elif (prefix / "conda-meta").is_dir() and not (prefix / "condabin").is_dir():
        yield Line("OK", "environment", f"conda, {settings.show_path(prefix)}")
    elif sys.prefix != sys.base_prefix:
        yield Line("OK", "environment", f"venv, {settings.show_path(prefix)}")
    else:
        yield Line("WARN", "environment", f"{who} ({settings.show_path(prefix)}) is shared "
                   "with other projects", f"{go_there}make course" if home else
                   f"python -m venv .venv && {activate}")
    jupyter = shutil.which("jupyter")
    if jupyter and not on_colab() and not in_notebook() and (
            Path(jupyter).parent.resolve() != Path(sys.executable).parent.resolve()):
        yield Line("WARN", "jupyter", f"the command jupyter is another environment's "
                   f"({settings.show_path(jupyter)}), and its notebooks would run there",
                   f"{in_command(sys.executable)} -m jupyter lab")


def check_python() -> Iterator[Line]:
    """Check that this is one of the Pythons that the course is tested on."""
    version, known = platform.python_version(), (3, 11) <= sys.version_info[:2] <= (3, 13)
    if known:
        yield Line("OK", "python", version)
    else:
        launcher = "py -3.12" if os.name == "nt" else "python3.12"
        yield Line("WARN" if on_colab() else "FIX", "python",
                   f"{version}; the course needs 3.11, 3.12 or 3.13",
                   OTHER_RUNTIME if on_colab() else f"{launcher} -m venv .venv")


def check_packages() -> Iterator[Line]:
    """Check numpy and ipykernel by name; of the rest, name what is wrong."""
    names = list(requirements())
    if not names:
        yield Line("WARN", "course_lib", "is not installed and runs from its folder, so what it "
                   "needs is not known", pip(f"-e {in_command(Path(__file__).parents[2])}"))
    yield from map(package, ("numpy", "ipykernel"))
    named = {"torch", "numpy", "ipywidgets", "tensorboard", *(NOT_ON_COLAB if on_colab() else ())}
    others = [package(name) for name in names if name not in named]
    yield from (line for line in others if line.mark != "OK")
    yield Line("OK", "packages", f"{sum(line.mark == 'OK' for line in others)} others are here")


def check_widgets() -> Iterator[Line]:
    """Check ipywidgets and what draws them in JupyterLab; what does not fit shows nothing."""
    line = package("ipywidgets")
    major, front = numbers(line.text)[:1], installed("jupyterlab_widgets")
    if line.mark != "OK":
        yield line
    elif on_colab():
        yield Line("OK", "ipywidgets", f"{line.text}, drawn by Colab") if major == (7,) else Line(
            "WARN", "ipywidgets", f"{line.text}, but Colab draws 7: sliders may stay empty",
            FRESH_RUNTIME)
    elif front and numbers(front)[0] in FRONT_ENDS.get(major[0], ()):
        yield Line("OK", "ipywidgets", f"{line.text}, front end jupyterlab_widgets {front}")
    else:
        wrong = f"{front} does not fit" if front else "is missing"
        yield Line("FIX", "ipywidgets", f"{line.text}, but the front end jupyterlab_widgets "
                   f"{wrong}, so sliders show as text. Install it where JupyterLab runs, then "
                   "reload the page",
                   pip('--upgrade "ipywidgets>=8.1" "jupyterlab_widgets>=3,<4"'))


def check_tensorboard() -> Iterator[Line]:
    """Check tensorboard; below 2.21 it needs pkg_resources, which left setuptools in version 82."""
    line, tools = package("tensorboard"), installed("setuptools")
    if line.mark != "OK":
        yield line
    elif numbers(line.text) >= (2, 21) or (tools and numbers(tools) < (82,)):
        yield Line("OK", "tensorboard", f"{line.text}, setuptools {tools or 'none'}")
    else:
        yield Line("WARN" if on_colab() else "FIX", "tensorboard", f"{line.text} does not start "
                   f"with setuptools {tools or 'missing'} (all curves are also drawn without it)",
                   reinstall('"tensorboard>=2.21"'))


def torch_error() -> str:
    """Say why torch does not load; "" where it does."""
    try:
        import torch  # noqa: F401
    except Exception as error:                   # a missing system library is an OSError, or worse
        return first_line(error)
    return ""


def check_torch() -> Iterator[Line]:
    """Check that torch is here, new enough, and loads."""
    error = torch_error()
    if installed("torch") and error:
        yield Line("FIX", "torch", f"does not load ({error}), so device, profile and minutes are "
                   "not known", reinstall("--force-reinstall torch torchvision"))
    else:
        yield package("torch")
