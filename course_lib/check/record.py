"""What a student did, kept as one JSON file beside the runs: exercises and forecasts.

Nothing is sent anywhere. A teacher collects `course.json` from the students' run folders.
"""

import json
import time
import warnings

from course_lib import settings
from course_lib.data.cache import write_atomically

NAME = "course.json"


def read() -> dict:
    """{"exercises": {name: {solved, text, tries, first, last}}, "forecasts": {name: …}}."""
    path = settings.runs_folder() / NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"exercises": {}, "forecasts": {}}
    except (OSError, ValueError) as error:
        warnings.warn(f"{path} cannot be read ({error}); what it held is left alone, and nothing "
                      "new is kept", stacklevel=2)
        return {"exercises": {}, "forecasts": {}, "damaged": True}


def write(record: dict) -> None:
    """Keep the record; a folder that cannot be written to is told, and the notebook goes on."""
    path = settings.runs_folder() / NAME
    if record.get("damaged"):
        return
    text = json.dumps(record, indent=1, ensure_ascii=False).encode()
    try:
        write_atomically(path, lambda file: file.write(text))
    except OSError as error:
        warnings.warn(f"your answers are checked, but not kept: {path} cannot be written "
                      f"({error.strerror or error}). Set COURSE_RUNS to another folder.",
                      stacklevel=2)


def now() -> str:
    """Date and time as text."""
    return time.strftime("%Y-%m-%d %H:%M:%S")
