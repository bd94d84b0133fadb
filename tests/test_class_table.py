"""A class of students with tiny twins, two networks trained for a step, and what can be wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib import cli, data, losses, models, predict, train
from course_lib.check import class_table, record
from course_lib.check.lessons import LESSONS
from course_lib.data import phantom, twin_names
from course_lib.errors import CourseError
from course_lib.predict import stored

SECRET = "a text that nobody knows"
EXERCISES = [f"{lesson.number} {name}" for lesson in LESSONS for name in lesson.exercises]


def make_small_patient(number: int, seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """A patient of four slices of 24 pixels, in place of the twin's."""
    random = np.random.default_rng([seed, number])
    image = random.integers(30, 90, (4, 24, 24, 3)).astype(np.uint8)
    mask = np.zeros((4, 24, 24), np.uint8)
    top = random.integers(4, 12)
    mask[1:3, top : top + 8, 6:14] = 255
    image[..., 1][mask > 0] += 100
    return twin_names.name_patient("CS", number, seed), image, mask


@pytest.fixture(scope="module", autouse=True)
def _small_twins(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(phantom, "make_patient", make_small_patient)
        yield


def train_a_step(folder: Path, twin: Path, model=None) -> Path:
    """Train on three patients of a twin, validate on the fourth."""
    names = [path.name for path in data.find_patients(twin)]
    training, validation = (data.SliceDataset(twin, size=16, patients=part, drop_ends=False)
                            for part in (names[:3], names[3:4]))
    torch.manual_seed(0)
    train.fit(model or models.UNet(3, 1, features=2), training, validation, loss=losses.BCEDice(),
              augment=None, folder=folder,
              config=train.TrainConfig(epochs=1, batch_size=4, steps_per_epoch=2, seed=0))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Run folders by whose twin they were trained on."""
    home = tmp_path_factory.mktemp("runs")
    return {str(seed): train_a_step(home / f"03-{seed}", data.fetch("lgg-phantom", 4, seed=seed))
            for seed in ("Ada", "Ben", 42, SECRET)}


def hand_in(folder: Path, run: Path | None, kept: dict | str | None) -> Path:
    """Make a student's folder, as an unpacked `runs` is."""
    folder.mkdir(parents=True)
    if run:
        shutil.copytree(run, folder / "runs" / "03-lgg-phantom-tiny")
    if kept is not None:
        (folder / "runs").mkdir(exist_ok=True)
        text = kept if isinstance(kept, str) else json.dumps(kept)
        (folder / "runs" / record.NAME).write_text(text, encoding="utf-8")
    return folder


def kept(solved: int = 1, **forecasts) -> dict:
    """What a course.json holds of so many of two exercises."""
    return {"format": record.FORMAT,
            "exercises": {name: {"solved": number < solved, "tries": 1, "verdict": "", "last": ""}
                          for number, name in enumerate(EXERCISES[:2])},
            "forecasts": forecasts or {"a": {"values": {"x": 1.0}, "reason": ""}}}


@pytest.fixture
def room(tmp_path, runs) -> Path:
    """A class of two: Ada with her own twin, Ben with the usual one."""
    hand_in(tmp_path / "class" / "Ada", runs["Ada"], kept(2))
    hand_in(tmp_path / "class" / "Ben", runs["42"], kept(1))
    return tmp_path / "class"


def graded(room: Path, student: str) -> dict:
    """A student's row; the others' rows must be without remarks."""
    table = class_table.grade(room, SECRET, 3)
    assert [row["student"] for row in table if row["remarks"] and row["student"] != student] == []
    return next(row for row in table if row["student"] == student)


def test_a_class_becomes_a_row_per_student(room):
    table = class_table.grade(room, SECRET, 3)
    assert table.column("student") == ["Ada", "Ben"]
    assert table.column("twin") == ["own", "usual"]
    assert table.column("trained on") == [3, 3]
    assert table.column("solved") == [2, 1]
    assert table.column("forecasts") == [1, 1]
    assert table.column("remarks") == ["", ""]


def test_the_score_is_that_of_the_network_on_the_secrets_twin(room, runs):
    hidden = data.fetch("lgg-phantom", 3, seed=SECRET)
    dsc = predict.scores(predict.predict_all(
        predict.load(runs["Ada"]), data.SliceDataset(hidden, size=16))).column("dsc")
    row = graded(room, "Ada")
    assert row["dsc"] == pytest.approx(np.mean(dsc), abs=1e-4)
    assert row["lowest"] == pytest.approx(min(dsc), abs=1e-4)
    assert row["missed"] == sum(np.array(dsc) < 0.1)


def test_another_secret_asks_other_patients(room, monkeypatch):
    asked = []
    monkeypatch.setattr(class_table.HiddenPatients, "read", lambda self, name: asked.append(
        name) or self.raw[name])
    class_table.grade(room, SECRET, 3)
    class_table.grade(room, "another", 3)
    assert len(set(asked)) == 6 and len(asked) == 12       # the same for both students


def test_nothing_that_was_handed_in_is_changed(room):
    (room / "Ada" / "runs" / record.NAME).write_text("{", encoding="utf-8")       # damaged, too
    before = {path: path.read_bytes() for path in room.rglob("*") if path.is_file()}
    class_table.grade(room, SECRET, 3)
    assert {path: path.read_bytes() for path in room.rglob("*") if path.is_file()} == before


def test_who_trained_on_hidden_patients_is_not_scored(room, runs):
    hand_in(room / "Cem", runs[SECRET], kept())
    row = graded(room, "Cem")
    assert row["dsc"] == "" and row["solved"] == 1
    assert row["remarks"].startswith("Trained on 3 of the 3 hidden patients, and not scored. Ask ")


def test_hidden_patients_are_known_by_their_images_whatever_they_are_called(room, tmp_path):
    twin = data.fetch("lgg-phantom", 4, seed=SECRET)
    for number, patient in enumerate(data.find_patients(twin)):
        name = f"MINE_{number}"
        (tmp_path / "mine" / name).mkdir(parents=True)
        for file in patient.iterdir():
            shutil.copy(file, tmp_path / "mine" / name / file.name.replace(patient.name, name))
    hand_in(room / "Cem", train_a_step(tmp_path / "03-renamed", tmp_path / "mine"), kept())
    row = graded(room, "Cem")
    assert row["twin"] == "none" and row["dsc"] == ""
    assert "Trained on 3 of the 3 hidden patients" in row["remarks"]


def test_a_run_that_two_handed_in_is_said_of_both(room, runs):
    hand_in(room / "Cem", runs["Ada"], kept())
    table = class_table.grade(room, SECRET, 3)
    assert table.column("remarks") == ["The same run as Cem.", "", "The same run as Ada."]
    assert table.column("twin") == ["own", "usual", f"seed {twin_names.name_to_seed('Ada')}"]
    assert table[0]["dsc"] == table[2]["dsc"] != ""


def test_two_without_a_run_are_not_said_to_share_it(room):
    for name in ("Cem", "Dan"):
        hand_in(room / name, None, kept())
    assert not any("same run" in row["remarks"] for row in class_table.grade(room, SECRET, 3))


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda run: shutil.rmtree(run), "No run folder, which holds config.json and best.pt. Hand in"),
    (lambda run: (run / "best.pt").unlink(), "there is no best.pt"),
    (lambda run: (run / "best.pt").write_bytes(b"cut"), "best.pt is damaged"),
    (lambda run: (run / "config.json").write_text("{"), "config.json cannot be read"),
    (lambda run: (run / "config.json").write_text("{}"), "not as it was written"),
    (lambda run: forge(run, data={"training": 3}), "It cannot be read or scored (TypeError: "),
    (lambda run: forge(run, model={"name": "Mine", "module": "__main__", "arguments": {}}),
     "__main__.Mine is not one of course_lib's"),
    (lambda run: shutil.copytree(run, run.parent / "03-gpu"),
     "2 run folders (03-gpu, 03-lgg-phantom-tiny). Hand in one")])
def test_a_bad_run_folder_is_said_and_the_others_go_on(room, runs, spoil, says):
    student = hand_in(room / "Ada B", runs["Ben"], kept(2))
    spoil(student / "runs" / "03-lgg-phantom-tiny")
    row = graded(room, "Ada B")
    assert says in row["remarks"]
    assert row["dsc"] == "" and row["solved"] == 2


def forge(run: Path, **parts) -> None:
    """Change a config.json, and give it a checksum that fits."""
    config = json.loads((run / "config.json").read_text("utf-8")) | parts
    config.pop("checksum")
    (run / "config.json").write_text(stored.config_text(config), encoding="utf-8")


def test_of_several_runs_the_one_of_lesson_03_counts(room, runs):
    student = hand_in(room / "Ben B", runs["Ben"], kept())
    shutil.copytree(runs["42"], student / "runs" / "00-start-tiny")
    row = graded(room, "Ben B")
    assert row["run"] == stored.read_config(runs["Ben"])["id"][:8]
    assert row["twin"] == f"seed {twin_names.name_to_seed('Ben')}"


@pytest.mark.parametrize(("text", "solved", "says"), [
    (None, "", "No course.json, so exercises and forecasts are not counted."),
    ("{", "", "The file course.json is damaged, and nothing of it could be read. Ask for it"),
    (json.dumps(kept(2) | {"forecasts": {"a": "b"}}), 2,
     "The file course.json is damaged: what could be read of it is counted."),
    (json.dumps(kept(2) | {"format": 99}), 2, "was written by a newer version of the course")])
def test_a_bad_course_json_is_said_and_the_network_scored(room, runs, text, solved, says):
    hand_in(room / "Cem", runs["Ben"], text)
    row = graded(room, "Cem")
    assert says in row["remarks"]
    assert row["solved"] == solved and isinstance(row["dsc"], float)


def test_two_course_json_are_not_counted(room, runs):
    student = hand_in(room / "Cem", runs["Ben"], kept())
    (student / record.NAME).write_text(json.dumps(kept()), encoding="utf-8")
    row = graded(room, "Cem")
    assert row["remarks"].startswith("2 course.json, so exercises") and row["solved"] == ""


def test_only_exercises_of_the_course_and_forecasts_with_a_guess_or_a_reason_count(room, runs):
    entries = kept(2, guess={"values": {"x": 0.0}, "reason": ""},
                   reason={"values": {}, "reason": "because"},
                   outcome={"values": {"x": None}, "reason": "", "outcome": {"x": 1.0}})
    entries["exercises"]["00 invented"] = {"solved": True, "tries": 1}
    hand_in(room / "Cem", runs["Ben"], entries)
    row = graded(room, "Cem")
    assert (row["solved"], row["forecasts"]) == (2, 2)


@pytest.mark.parametrize(("patients", "twin"), [
    (["TWIN_CS_0000_00000007", "TWIN_DU_0001_00000007"], "seed 7"),
    (["TWIN_CS_0000_20000101"], "usual"),
    (["TWIN_CS_0000_46304125"], "own"),
    (["TWIN_CS_0000_20000101", "TWIN_DU_0001_00000007"], "mixed"),
    (["TCGA_CS_4944_20010208"], "none"), (["TCGA_CS_4944_20010208", "TWIN_CS_0000_46304125"],
                                          "mixed")])
def test_whose_twin_it_was_is_read_from_the_patients(patients, twin):
    assert class_table._whose_twin(patients, "ada  lovelace") == twin


def test_a_hand_in_of_three_files_will_do(room, runs):
    (room / "Cem").mkdir()
    for name in ("config.json", "best.pt"):
        shutil.copy(runs["Ben"] / name, room / "Cem")
    (room / "Cem" / record.NAME).write_text(json.dumps(kept()), encoding="utf-8")
    assert isinstance(graded(room, "Cem")["dsc"], float)


def test_the_text_has_the_table_and_the_remarks_below_it(room):
    hand_in(room / "Cem", None, kept())
    lines = class_table.as_text(class_table.grade(room, SECRET, 3)).splitlines()
    assert lines[0].split()[:2] == ["student", "twin"] and "remarks" not in lines[0]
    assert lines[4] == f"exercises in all: {len(EXERCISES)}"
    assert lines[5].startswith("Cem: No run folder, which") and len(lines) == 6


@pytest.mark.parametrize(("make", "says"), [
    (lambda folder: None, "there is no student's folder in"),
    (lambda folder: folder.mkdir(), "there is no student's folder in"),
    (lambda folder: folder.write_text(""), "there is no student's folder in"),
    (lambda folder: hand_in(folder / "__MACOSX", None, None), "there is no student's folder in"),
    (lambda folder: (folder.mkdir(), (folder / record.NAME).write_text("{}")),
     "what one student handed in lies in")])
def test_a_folder_that_holds_no_class_is_refused(tmp_path, make, says):
    make(tmp_path / "here")
    with pytest.raises(CourseError, match=f"course grade: {says}"):
        class_table.grade(tmp_path / "here", SECRET, 3)


# ---------------------------------------------------------------- the command

def test_the_command_prints_the_table_and_writes_it(room, tmp_path, capsys):
    file = tmp_path / "table.csv"
    assert cli.main(["grade", str(room), "--secret", SECRET, "--patients", "3", "--to",
                     str(file)]) == 0
    printed = capsys.readouterr().out
    assert "Ada" in printed and f"written to {file}" in printed and SECRET not in printed
    header, ada, ben = file.read_text("utf-8").splitlines()
    assert header == "student,twin,trained on,dsc,lowest,missed,solved,forecasts,run,remarks"
    assert ada.startswith("Ada,own,3,0.") and ben.startswith("Ben,usual,3,0.")


def test_a_table_that_cannot_be_written_is_printed_all_the_same(room, capsys):
    assert cli.main(["grade", str(room), "--secret", SECRET, "--patients", "3", "--to",
                     str(room)]) == 1
    printed = capsys.readouterr()
    assert "Ada" in printed.out
    assert "cannot be written" in printed.err and "Name another file with --to." in printed.err


@pytest.mark.parametrize(("arguments", "says"), [
    (["--secret", " "], "give seed as a whole number"), (["--secret", "x", "--patients", "0"],
                                                         "Give patients as a whole number")])
def test_arguments_that_cannot_be_are_refused_in_a_sentence(room, capsys, arguments, says):
    assert cli.main(["grade", str(room), *arguments]) == 1
    assert says.lower() in capsys.readouterr().err.lower()


@pytest.mark.parametrize("arguments", [["grade"], ["grade", "class"], ["grade", "--secret", "x"]])
def test_folder_and_secret_are_asked_for(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and "usage: course grade" in capsys.readouterr().err
