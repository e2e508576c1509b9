from sieveql.output import as_json, as_table

ROWS = [{"name": "Ana", "age": 34}, {"name": "Bo", "age": None}]


def test_table():
    assert as_table(ROWS).splitlines() == ["name  age", "----  ---", "Ana    34", "Bo"]


def test_no_rows():
    assert as_table([]) == "(no rows)"


def test_json():
    assert as_json(ROWS) == '[{"name": "Ana", "age": 34},\n {"name": "Bo", "age": null}]'
