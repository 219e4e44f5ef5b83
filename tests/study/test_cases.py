import pytest

from spinaldx.errors import TableError
from spinaldx.study import read_cases


def table(folder, text, name="cases.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


class TestReadCases:
    def test_reads_every_column(self, tmp_path):
        (tmp_path / "a.nii").touch()
        head = "case,t2w,mask,diagnosis,series,cord,ct1w,age,sex,site,split,difficult,rater1"
        row = "p1,a.nii,a.nii,ms,c,a.nii,a.nii,34.5,F,north,val,yes,nmosd"

        (case,) = read_cases(table(tmp_path, f"\ufeff{head}\n{row}\n\n"))

        assert (case.case, case.diagnosis, case.age, case.sex) == (
            "p1",
            "ms",
            34.5,
            "F",
        )
        assert (case.split, case.difficult) == ("validation", True)
        assert case.raters == (("rater1", "nmosd"),)
        assert case.mask == tmp_path / "a.nii"

    @pytest.mark.parametrize("sign", [";", "\t"])
    def test_other_separators(self, tmp_path, sign):
        (tmp_path / "a.nii").touch()
        text = f"case{sign}t2w{sign}diagnosis\np{sign}a.nii{sign}healthy\n"

        assert read_cases(table(tmp_path, text))[0].diagnosis == "healthy"

    def test_capitals_and_decimal_commas(self, tmp_path):
        text = "case;diagnosis;sex;age;rater1\np;MS;f;32,5;Nmosd\nq;Healthy;m;7;\n"

        first, second = read_cases(table(tmp_path, text), required=("case",))

        assert (first.diagnosis, first.sex, first.age) == ("ms", "F", 32.5)
        assert first.raters == (("rater1", "nmosd"),)
        assert (second.diagnosis, second.sex, second.age) == ("healthy", "M", 7.0)

    def test_lists_every_fault_with_row_and_column(self, tmp_path):
        text = (
            "case,t2w,diagnosis,age,sex,split,difficult\n"
            "p,no.nii,flu,old,x,third,perhaps\n,,,-3,,,\n"
        )

        with pytest.raises(TableError) as caught:
            read_cases(table(tmp_path, text))

        for column in ("t2w", "diagnosis", "age", "sex", "split", "difficult"):
            assert f"row 2, column '{column}'" in caught.value.message
        assert "row 3, column 'case'" in caught.value.message
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("name,t2w\np,a\n", "column 'case' is missing"),
            ("case,t2w,colour\np,a,b\n", "column 'colour' is unknown"),
            ("case,t2w,rater²\np,a,ms\n", "column 'rater²' is unknown"),
            ("case,case,t2w\np,p,a\n", "there 2 times"),
            ("case,t2w\n", "no rows"),
            ("", "column 'case' is missing"),
            ('case,t2w\n"p,a\n', "not a table"),
        ],
    )
    def test_refuses_a_wrong_table(self, tmp_path, text, fault):
        with pytest.raises(TableError, match=fault) as caught:
            read_cases(table(tmp_path, text), check_files=False)
        assert caught.value.hint

    def test_stations_are_different_series_or_files(self, tmp_path):
        named = "case,t2w,series\na,x,1\na,x,2\na,y,\na,z,\n"
        rows = read_cases(table(tmp_path, named), check_files=False)

        assert [(row.series, row.t2w.name) for row in rows] == [
            ("1", "x"), ("2", "x"), ("", "y"), ("", "z"),
        ]  # fmt: skip
        for twice in ("a,x,1\na,y,1\n", "a,x,\na,x,\n"):
            path = table(tmp_path, "case,t2w,series\n" + twice)
            with pytest.raises(
                TableError, match=r"row 3.*same case and series as row 2"
            ):
                read_cases(path, check_files=False)

    @pytest.mark.parametrize(
        "text",
        [
            "case,age,site\na,45,5,Berlin\n",
            "case,age,\na,45,a note\n",
            "case,age\na,45, ,x\n",
        ],
    )
    def test_refuses_cells_without_a_column(self, tmp_path, text):
        with pytest.raises(TableError, match="row 2, a cell without a column"):
            read_cases(table(tmp_path, text), required=("case",))

    def test_empty_cells_without_a_column_are_fine(self, tmp_path):
        text = "case,age,,\na,45,,,,\nb\n,,,,,\n"
        rows = read_cases(table(tmp_path, text), required=("case",))

        assert [(row.case, row.age) for row in rows] == [("a", 45.0), ("b", None)]

    def test_refuses_repeats_and_names_that_fall_together(self, tmp_path):
        text = "case,t2w\na b,x\na b,x\na_b,z\n"

        with pytest.raises(TableError, match=r"row 3.*same case.*row 4.*folder name"):
            read_cases(table(tmp_path, text), check_files=False)

    def test_refuses_other_encodings_and_missing_tables(self, tmp_path):
        with pytest.raises(TableError, match="UTF-8"):
            read_cases(table(tmp_path, "case,t2w\nä,b\n", encoding="latin-1"))
        with pytest.raises(TableError, match="cannot be read"):
            read_cases(tmp_path / "no.csv")
