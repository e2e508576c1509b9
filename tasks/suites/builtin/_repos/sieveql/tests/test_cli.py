import json

from sieveql.cli import main


def test_json_and_csv(tmp_path, capsys):
    people = tmp_path / "people.json"
    people.write_text(json.dumps([{"name": "Ana", "team": "1"}]))
    teams = tmp_path / "teams.csv"
    teams.write_text("id,label\n1,red\n")
    query = "SELECT name, label FROM people JOIN teams ON team = id"
    assert main([str(people), str(teams), query, "--format", "csv"]) == 0
    assert capsys.readouterr().out == "name,label\nAna,red\n"


def test_a_bad_query(tmp_path, capsys):
    people = tmp_path / "people.json"
    people.write_text("[]")
    assert main([str(people), "SELECT name FROM peeple"]) == 1
    assert "unknown table" in capsys.readouterr().err
