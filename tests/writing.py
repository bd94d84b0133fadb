"""Run folders as tests want them: a config.json of their own choice."""

from pathlib import Path

from course_lib.predict.stored import config_text


def write_config(folder: Path, config: dict) -> None:
    """Write a config.json with the checksum that belongs to it."""
    (folder / "config.json").write_text(config_text(config), "utf-8")
