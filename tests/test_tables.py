"""Rows that show as a table, and as csv."""

import math

import numpy as np
import pytest

from course_lib.tables import Table, read_csv

ROWS = [{"patient": "a<b", "dsc": 0.123456, "voxels": 3}, {"patient": "c", "dsc": math.nan,
                                                          "voxels": 40}]


def test_a_table_is_a_list_of_rows_with_columns():
    table = Table(ROWS)
    assert table == ROWS and table.names == ["patient", "dsc", "voxels"]
    assert table.column("voxels") == [3, 40] and Table(row for row in ROWS) == table


def test_it_shows_as_text_and_as_html_with_three_decimals():
    assert repr(Table(ROWS)).splitlines() == ["patient  dsc    voxels", "a<b      0.123  3",
                                              "c        nan    40"]
    page = Table(ROWS)._repr_html_()
    assert ('<td style="text-align:left">a&lt;b</td><td style="text-align:right">0.123</td>'
            '<td style="text-align:right">3</td>') in page and page.count("<tr>") == 3
    assert "0.500" in repr(Table([{"a": np.float64(0.5)}]))


def test_no_rows_show_as_such():
    assert repr(Table()) == "no rows" and "no rows" in Table()._repr_html_()
    assert Table().names == [] and Table().to_csv() == ""


def test_csv_comes_back_to_the_last_digit(tmp_path):
    Table([{"name": 'x,"y"', "value": 0.1 + 0.2}]).save(tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv") == [{"name": 'x,"y"', "value": 0.1 + 0.2}]
    Table(ROWS).save(tmp_path / "t.csv")
    assert math.isnan(read_csv(tmp_path / "t.csv")[1]["dsc"])


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,a\n1,2\n", "a,b\n1,2,3\n"])
def test_what_is_no_table_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match="rows of different length"):
        read_csv(tmp_path / "t.csv")
