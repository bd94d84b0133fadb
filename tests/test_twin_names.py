import pytest

from course_lib.data.twin_names import name_patient, name_to_seed, seed_of
from course_lib.errors import CourseError


def test_a_name_becomes_the_last_eight_digits_of_its_checksum():
    # printf 'ada lovelace' | sha256sum, as a decimal number
    digest = "177f85df57ad121d5aaac8076a4a0554a673182fe06cf65ee7d9f7d0961f947d"
    assert int(digest, 16) % 10**8 == name_to_seed("Ada Lovelace") == 46304125


@pytest.mark.parametrize("name", ["ada lovelace", "  ADA \t Lovelace\n", "\uff21da\u00a0Lovelace"])
def test_capitals_spaces_and_wide_letters_make_no_other_student(name):
    assert name_to_seed(name) == name_to_seed("Ada Lovelace")


def test_an_accent_typed_as_one_or_two_characters_is_the_same():
    assert name_to_seed("Andr\u00e9") == name_to_seed("Andre\u0301") != name_to_seed("Andre")


@pytest.mark.parametrize(("text", "seed"), [("42", 42), (" 0042 ", 42),
                                            ("123456789012", 123456789012)])
def test_a_number_as_text_is_that_number(text, seed):
    assert name_to_seed(text) == seed


@pytest.mark.parametrize("text", ["1234567890123", "9" * 5000, "-1", "1.5", "\ud800", "s1234567"])
def test_what_is_no_short_number_becomes_eight_digits(text):
    assert 0 <= name_to_seed(text) < 10**8


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_a_text_with_nothing_in_it_is_refused(text):
    with pytest.raises(CourseError, match="or as a name"):
        name_to_seed(text)


def test_two_hundred_students_have_two_hundred_seeds():
    assert len({name_to_seed(f"student {number}") for number in range(200)}) == 200


@pytest.mark.parametrize(("number", "seed", "name"), [
    (0, 42, "TWIN_HT_0000_20000101"), (13, 42, "TWIN_HT_0013_20030214"),
    (13, 7, "TWIN_HT_0013_00000007"), (3, 123456789012, "TWIN_HT_0003_123456789012")])
def test_a_patients_name_ends_with_the_seed_or_the_usual_twins_date(number, seed, name):
    assert name_patient("HT", number, seed) == name
    assert seed_of(name) == seed


@pytest.mark.parametrize("name", ["TCGA_DU_5851_19950428", "TWIN_HT_0013", "TWIN_HT_x_00000007",
                                  "", "TWIN_HT_0013_00000007_1"])
def test_who_is_no_twins_has_no_seed(name):
    assert seed_of(name) is None
