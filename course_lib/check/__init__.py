"""The exercises' checkers, one file a lesson, and what a student forecasts and solves.

A checker registers itself (record.exercise), so none is listed here: the files lesson_*.py are
imported when the first name is asked for. Until then torch is not loaded, so that the doctor can
read lessons.py where torch is broken.
"""

import importlib
import pkgutil


def _public() -> dict:
    """Import the lessons' checkers; give all that this package offers, by name."""
    files = {module.name: importlib.import_module(f"{__name__}.{module.name}")
             for module in pkgutil.iter_modules(__path__)}
    forecasts, record = files["forecasts"], files["record"]
    return {**record.CHECKERS, "enough_patients": files["lessons"].enough_patients,
            "forecast": forecasts.forecast, "is_installed": files["extras"].is_installed,
            "outcome": forecasts.outcome, "summary": files["overview"].summary,
            "use": files["own"].use}


def __getattr__(name: str):
    if name.startswith("_") or any(file.name == name for file in pkgutil.iter_modules(__path__)):
        raise AttributeError(name)                  # a file of this package imports itself
    if name not in (public := _public()):
        raise AttributeError(f"there is no check.{name}: choose from {', '.join(public)}")
    return public[name]


def __dir__() -> list[str]:
    return sorted(_public())
