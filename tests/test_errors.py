import pickle

import pytest

from course_lib.errors import CourseError, DataError


def test_an_error_is_a_sentence_of_where_what_and_cure():
    error = CourseError(what="size=47", where="UNet", cure="use a multiple of 16")
    assert str(error) == "UNet: size=47. Use a multiple of 16."
    assert (error.what, error.where, error.cure) == ("size=47", "UNet", "use a multiple of 16")


def test_a_full_stop_in_the_cure_is_not_doubled():
    assert str(CourseError("it is wrong", "here", "Mend it.")) == "here: it is wrong. Mend it."


def test_a_data_error_is_a_course_error_and_a_value_error():
    with pytest.raises(ValueError, match="a.tif: broken"):
        raise DataError(what="broken", where="a.tif", cure="mend it")
    assert issubclass(DataError, CourseError)
    assert not issubclass(CourseError, ValueError)


@pytest.mark.parametrize("kind", [CourseError, DataError])
def test_an_error_survives_the_way_between_two_processes(kind):
    back = pickle.loads(pickle.dumps(kind(what="a", where="b", cure="c")))
    assert type(back) is kind
    assert str(back) == "b: a. C."
    assert back.cure == "c"
