"""Cells that need more than the course: the packages of an extra in pyproject.toml."""

from importlib.metadata import PackageNotFoundError, version


def _is_there(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def is_installed(*packages: str) -> bool:
    """Tell whether packages are installed; print what installs them where one is not.

    Args:
        packages: as pip names them.
    """
    missing = [package for package in packages if not _is_there(package)]
    if missing:
        print(f"This cell needs what is not installed here: run `pip install {' '.join(missing)}` "
              "and restart the kernel. The lesson goes on without it.")
    return not missing
