"""How the library is built: who may import whom, and how long it may become."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "course_lib"
FILES = sorted(LIBRARY.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}

# From the ground up. Files of one package may import each other; floors only what lies below them.
FLOORS = [{"errors"}, {"files", "registry"}, {"tables"}, {"settings", "compute"},
          {"data", "models", "losses", "metrics", "augment", "stats", "show"},
          {"predict"}, {"train"}, {"runs", "recipe"}, {"check"}, {"doctor"}, {"cli"},
          {"__main__"}]
FLOOR = {package: number for number, floor in enumerate(FLOORS) for package in floor}
FOREIGN = {"monai", "nnunetv2", "dynamic_network_architectures", "segmentation_models_pytorch"}
# Lines that each floor may have in all, check/ and saved/ apart.
BUDGET = {"ground": 700, "data": 2400, "models": 800, "losses, metrics, stats, augment": 1000,
          "show": 900, "predict": 600, "train": 1000, "runs": 300, "recipe": 1400,
          "doctor, cli": 900}
PART = {"errors": "ground", "files": "ground", "tables": "ground", "registry": "ground",
        "settings": "ground", "compute": "ground", "course_lib": "ground", "__main__": "ground",
        "losses": "losses, metrics, stats, augment", "metrics": "losses, metrics, stats, augment",
        "stats": "losses, metrics, stats, augment", "augment": "losses, metrics, stats, augment",
        "doctor": "doctor, cli", "cli": "doctor, cli"}


def package_of(file: Path) -> str:
    """predict for predict.py, show for show/charts.py, course_lib for the library's __init__.py."""
    first = file.relative_to(LIBRARY).parts[0]
    return "course_lib" if first == "__init__.py" else first.removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Full names of all that is imported, wherever it stands: course_lib.metrics.dsc, numpy."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def climbs(package: str, tree: ast.AST) -> list[str]:
    """Imports of a package's file that stay on its floor or go up."""
    own = {name.split(".")[1] for name in imports(tree) if name.startswith("course_lib.")}
    return sorted(other for other in own - {package}
                  if FLOOR.get(other, len(FLOORS)) >= FLOOR[package])


def reads_environment(tree: ast.AST) -> bool:
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {name.split(".")[-1] for name in imports(tree)}
    return bool(names & {"environ", "environb", "getenv", "getenvb"})


def test_every_package_has_a_floor():
    assert {package_of(file) for file in FILES} <= {"course_lib", *FLOOR}


def test_imports_never_go_up():
    found = {str(file): climbs(package_of(file), tree) for file, tree in TREES.items()
             if package_of(file) != "course_lib"}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(("package", "line", "expected"), [
    ("metrics", "from course_lib import settings, train", ["train"]),
    ("metrics", "import course_lib.losses", ["losses"]),                       # the same floor
    ("data", "def f():\n    from course_lib.predict import load", ["predict"]),  # also later
    ("train", "from course_lib.train import checkpoint", []),                  # its own package
    ("train", "from course_lib import predict", [])])
def test_this_test_sees_an_import_that_goes_up(package, line, expected):
    assert climbs(package, ast.parse(line)) == expected


def test_nothing_is_imported_by_dots():
    assert [str(file) for file, tree in TREES.items()
            if any(name.startswith(".") for name in imports(tree))] == []


def test_the_library_itself_imports_nothing():
    assert imports(TREES[LIBRARY / "__init__.py"]) == set()


def test_other_segmentation_libraries_are_never_imported():
    found = {str(file): {name.split(".")[0] for name in imports(tree)} & FOREIGN
             for file, tree in TREES.items()}
    assert {file: names for file, names in found.items() if names} == {}


def test_no_public_function_bears_the_name_of_a_file_in_its_package():
    found = []
    for file, tree in TREES.items():
        beside = {path.stem for path in file.parent.iterdir()
                  if path.suffix == ".py" or (path / "__init__.py").is_file()}
        if file.name == "__init__.py":                           # what is re-exported counts, too
            beside -= {"__init__"}
            names = {name.split(".")[-1] for name in imports(tree)
                     if name.startswith("course_lib.") and name.count(".") > 2}
        else:
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)
                     and not node.name.startswith("_")}
        found += [f"{file}: {name}" for name in sorted(names & beside)]
    assert found == []


def test_environment_variables_are_read_in_settings_alone():
    assert [file.name for file, tree in TREES.items() if reads_environment(tree)] == ["settings.py"]


@pytest.mark.parametrize("line", ["import os\nos.getenv('A')", "from os import environ",
                                  "import os\nos.environ.get('A')"])
def test_this_test_sees_environment_variables(line):
    assert reads_environment(ast.parse(line))


def test_importing_the_library_loads_neither_torch_nor_numpy():
    code = ("import course_lib, sys; "
            "print(sorted({'torch', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_short_enough_to_be_read():
    lines = {str(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert len(lines) > 15                                       # we do look at the library
    assert {file: count for file, count in lines.items() if count > 350} == {}


def test_each_floor_stays_within_its_lines():
    lines = dict.fromkeys(BUDGET, 0)
    for file in FILES:
        package = package_of(file)
        if package != "check":
            lines[PART.get(package, package)] += len(file.read_text("utf-8").splitlines())
    assert {part: count for part, count in lines.items() if count > BUDGET[part]} == {}


def test_functions_stay_short_without_their_docstrings():
    lengths = sorted(length_of(node) for tree in TREES.values() for node in ast.walk(tree)
                     if isinstance(node, ast.FunctionDef))
    median, ninetieth = lengths[len(lengths) // 2], lengths[int(0.9 * len(lengths))]
    assert median <= 10 and ninetieth <= 25, (median, ninetieth)


def length_of(function: ast.FunctionDef) -> int:
    """Lines of a function, its docstring left out."""
    docstring = function.body[0] if ast.get_docstring(function) else None
    whole = function.end_lineno - function.lineno + 1
    return whole - (docstring.end_lineno - docstring.lineno + 1 if docstring else 0)
