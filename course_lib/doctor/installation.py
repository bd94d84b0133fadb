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
    """The version of an installed package; None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements() -> dict[str, str]:
    """Package to lowest version, as course_lib declares them; empty where it is not installed."""
    try:
        lines = importlib.metadata.requires("course-lib") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    pairs = (line.partition(">=") for line in lines if "extra ==" not in line)
    return {name.strip(): lowest.strip() for name, _, lowest in pairs}


def numbers(version: str) -> tuple[int, ...]:
    """2.15.0+cu128 as (2, 15, 0), to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def on_colab() -> bool:
    """Whether this is Colab, or Kaggle: there, too, the packages are tuned to each other."""
    return installed("google-colab") is not None or settings.kaggle_working() is not None


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this."""
    return "ipykernel.kernelapp" in sys.modules


def pip(arguments: str) -> str:
    """The command that installs into this environment, for a notebook or a terminal."""
    if in_notebook():
        return f"%pip install {arguments}"
    python = Path(sys.executable)
    python = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    quoted = f'"{python}"' if " " in str(python) else python
    return f"{quoted} -m pip install {arguments}"


def reinstall(arguments: str) -> str:
    """As `pip`; on Colab, what brings its own packages back."""
    return FRESH_RUNTIME if on_colab() else pip(arguments)


def variable(name: str, value: str) -> str:
    """The command that sets an environment variable, for a notebook or a terminal."""
    if in_notebook():
        return f"%env {name}={value}"
    return f"{'set' if os.name == 'nt' else 'export'} {name}={value}"


def first_line(error: Exception | str) -> str:
    """The first line of an error, or its name where it has no words."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def package(name: str) -> Line:
    """Whether a package is here, as new as course_lib declares, and the one that is loaded."""
    found, lowest = installed(name), requirements().get(name, "0")
    if found and numbers(found) >= numbers(lowest):
        loaded = getattr(sys.modules.get(name), "__version__", found)
        if numbers(loaded) != numbers(found):
            return Line("WARN", name, f"{found} is installed, but {loaded} is loaded",
                        "restart the kernel")
        return Line("OK", name, found)
    text = found or "not installed"
    text += f"; the course needs {lowest} or newer" if lowest != "0" else ""
    if on_colab() and name in COLABS_OWN:        # it may work all the same, and pip would break it
        return Line("WARN", name, f"{text}. It is Colab's own, so install no other", OTHER_RUNTIME)
    wanted = name if lowest == "0" else f'"{name}>={lowest}"'
    return Line("FIX", name, text, pip(f"{'--no-deps ' if on_colab() else ''}{wanted}"))


def check_environment() -> Iterator[Line]:
    """Whether the packages lie in an environment of their own, and in the right one."""
    prefix, home = Path(sys.prefix), settings.checkout()
    ours = home / ".venv" if home else None
    activate = r".venv\Scripts\activate" if os.name == "nt" else "source .venv/bin/activate"
    who = "the kernel's Python" if in_notebook() else "this Python"
    if on_colab():
        yield Line("OK", "environment", "Colab's own, fresh in every session")
    elif ours and (ours / "pyvenv.cfg").is_file() and ours.resolve() != prefix.resolve():
        yield Line("WARN", "environment", f"{who} is {sys.executable}, not the one in {ours}",
                   f'cd "{home}" && {activate}')
    elif (prefix / "conda-meta").is_dir() and not (prefix / "condabin").is_dir():
        yield Line("OK", "environment", f"conda, {prefix}")
    elif sys.prefix != sys.base_prefix:
        yield Line("OK", "environment", f"venv, {prefix}")
    else:
        yield Line("WARN", "environment", f"{who} ({prefix}) is shared with other projects",
                   f"cd {home} && make course" if home else f"python -m venv .venv && {activate}")
    jupyter = shutil.which("jupyter")
    if jupyter and not on_colab() and not in_notebook() and (
            Path(jupyter).parent.resolve() != Path(sys.executable).parent.resolve()):
        yield Line("WARN", "jupyter", f"the command jupyter is another environment's ({jupyter}), "
                   "and its notebooks would run there", f'"{sys.executable}" -m jupyter lab')


def check_python() -> Iterator[Line]:
    """Whether this is one of the Pythons that the course is tested on."""
    version, known = platform.python_version(), (3, 11) <= sys.version_info[:2] <= (3, 13)
    if known:
        yield Line("OK", "python", version)
    else:
        launcher = "py -3.12" if os.name == "nt" else "python3.12"
        yield Line("WARN" if on_colab() else "FIX", "python",
                   f"{version}; the course needs 3.11, 3.12 or 3.13",
                   OTHER_RUNTIME if on_colab() else f"{launcher} -m venv .venv")


def check_packages() -> Iterator[Line]:
    """numpy and ipykernel by name; of the rest, what is wrong by name."""
    names = list(requirements())
    if not names:
        yield Line("WARN", "course_lib", "is not installed and runs from its folder, so what it "
                   "needs is not known", pip(f"-e {Path(__file__).parents[2]}"))
    yield from map(package, ("numpy", "ipykernel"))
    told = {"torch", "numpy", "ipywidgets", "tensorboard", *(NOT_ON_COLAB if on_colab() else ())}
    others = [package(name) for name in names if name not in told]
    yield from (line for line in others if line.mark != "OK")
    yield Line("OK", "packages", f"{sum(line.mark == 'OK' for line in others)} others are here")


def check_widgets() -> Iterator[Line]:
    """ipywidgets and what draws them in JupyterLab: versions that do not fit show nothing."""
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
    """tensorboard below 2.21 needs pkg_resources, which left setuptools with version 82."""
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
    """Why torch does not load; "" where it does."""
    try:
        import torch  # noqa: F401
    except Exception as error:                   # a missing system library is an OSError, or worse
        return first_line(error)
    return ""


def check_torch() -> Iterator[Line]:
    """Whether torch is here, new enough, and loads."""
    error = torch_error()
    if installed("torch") and error:
        yield Line("FIX", "torch", f"does not load ({error}), so device, profile and minutes are "
                   "not known", reinstall("--force-reinstall torch torchvision"))
    else:
        yield package("torch")
