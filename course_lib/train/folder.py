"""A run folder: held by one process, with config.json, history.csv, and what may not change."""

import json
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from course_lib import settings
from course_lib.errors import CourseError
from course_lib.files import clear_parts, explain_disk, lock, write_atomically
from course_lib.predict.stored import LAYOUT, read_config
from course_lib.registry import describe
from course_lib.tables import Table

FILES = ("config.json", "history.csv", "best.pt", "last.pt")
MOST = 5            # changes that an error names


def hold(folder: Path):
    """Hold a run folder while training, or refuse; only the first of several ranks does."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise CourseError(what="this is a file, or a link to nothing, and a run needs a folder",
                          where=str(folder),
                          cure=f"use another name, such as {fresh_name(folder)!r}")
    return nullcontext() if settings.rank() else lock(folder)


def write(path: Path, content: bytes) -> None:
    """Write a file of a run whole or not at all.

    Raises:
        CourseError: it cannot be written; an earlier one is still there.
    """
    with explain_disk(path, f"{path.name} ({len(content):,} bytes)"):
        write_atomically(path, lambda file: file.write(content))


def clear_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written; the folder is held, so nobody writes."""
    for name in FILES:
        clear_parts(folder / name)


def fresh_name(folder: Path) -> str:
    """Find a name beside a folder that is not taken yet."""
    number = 2
    while (folder.parent / f"{folder.name}-{number}").exists():
        number += 1
    return f"{folder.name}-{number}"


def write_history(folder: Path, history: list[dict]) -> None:
    """Write history.csv, whole, where it is not as it should be already."""
    path, text = folder / "history.csv", Table(history).to_csv().encode()
    if history and not (path.is_file() and path.read_bytes() == text):
        write(path, text)


def wanted_config(model, training, validation, loss, augment, config, postprocess) -> dict:
    """Describe all that changes a training's result, as config.json keeps it."""
    return {
        "data": {"preparation": training.preparation, "labels": training.labels,
                 "training": training.patients, "validation": validation.patients,
                 "digests": {**training.digests, **validation.digests}},
        "model": describe(model), "loss": describe(loss), "augment": describe(augment),
        "training": asdict(config), "postprocess": postprocess}


def new_config(wanted: dict, facts: dict) -> dict:
    """Make a new run's config: its id, what was wanted, how it is computed, versions."""
    return {"layout": LAYOUT, "id": uuid.uuid4().hex, **wanted, "compute": facts,
            "versions": versions()}


def versions() -> dict[str, str]:
    """List the versions that a result depends on."""
    return {name: version(name) for name in ("course-lib", "torch", "numpy", "scipy")}


def stored_config(folder: Path, wanted: dict) -> dict | None:
    """Read the config.json of a run to go on with; None where there is no run yet.

    Raises:
        CourseError: it was begun with other settings or data, which are named; or is no run's.
    """
    here = {name for name in FILES if (folder / name).is_file()}
    if not here and any(not path.name.startswith(".") for path in folder.glob("*")):
        raise CourseError(what="the folder holds files, but is not a run", where=str(folder),
                          cure=f"use another folder, such as {fresh_name(folder)!r}")
    config = read_config(folder) if here else None
    if len(here) < 2:                                    # killed before its first checkpoint
        return None
    wanted = json.loads(json.dumps(wanted))              # a tuple is a list in the file
    changes = [text for name in wanted for text in _differences(config[name], wanted[name], name)]
    changes += _changed_files(config["data"]["digests"], wanted["data"]["digests"])
    if changes:
        more = f" (and {len(changes) - MOST} more)" if len(changes) > MOST else ""
        raise CourseError(what="this run was begun with other settings: "
                               f"{'; '.join(changes[:MOST])}{more}", where=str(folder),
                          cure="put them back to go on, or begin a new run, such as "
                               f"{fresh_name(folder)!r}")
    _warn_of_changed_code(config, wanted)
    return config


def _warn_of_changed_code(config: dict, wanted: dict) -> None:
    """Warn where a class or function of the student's has another body than when it began."""
    for name in ("model", "loss", "augment"):
        before, now = ((part[name] or {}).get("source") for part in (config, wanted))
        if before != now:
            warnings.warn(f"the code of {wanted[name]['name']} ({name}) was changed since this run "
                          "began: what follows is trained with the new code", stacklevel=5)


def _differences(old, new, name: str) -> Iterator[str]:
    """Name what changed, as `training.learning_rate was 0.001, is 0.01`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for field in sorted(old.keys() | new.keys()):
            if field not in ("source", "digests"):       # changed code is only warned of
                yield from _differences(old.get(field, "not set"), new.get(field, "not set"),
                                        f"{name}.{field}")
    elif old != new:
        yield f"{name} {_change(old, new)}"


def _changed_files(before: dict, now: dict) -> Iterator[str]:
    """Name the files whose content changed, as `patient P_1: P_1_3_mask.tif has changed`."""
    for patient in sorted(before.keys() & now.keys()):   # patients lost or gained have their line
        for kind in ("image", "target"):
            old, new = (part[patient][kind] for part in (before, now))
            if isinstance(old, dict) and isinstance(new, dict):
                for file in sorted(old.keys() | new.keys()):
                    if old.get(file) != new.get(file):
                        yield f"patient {patient}: {file} ({kind}) has changed"
            elif old != new:
                yield f"patient {patient}: the {kind} has changed"


def _change(old, new) -> str:
    """Say `was 0.001, is 0.01`; of lists, such as the patients, what is missing and what is new."""
    if isinstance(old, list) and isinstance(new, list):
        lost = [item for item in old if item not in new]
        gained = [item for item in new if item not in old]
        if lost or gained:                                       # else the order is another
            return f"lost {lost}, gained {gained}"
    return f"was {old}, is {new}"
