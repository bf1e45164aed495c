"""What `prepare_data.py` says to people."""

from tests.verbs.conftest import PERSONS, Desk


def test_many_broken_files_are_counted_and_do_not_fill_the_screen(desk: Desk) -> None:
    for person in range(PERSONS):
        photo = desk.root / f"data/tiny/train/p{person:02d}/1.png"
        photo.write_bytes(photo.read_bytes()[:60])
    lines = [line.strip() for line in desk.run("prepare_data.py", desk.yaml).out.splitlines()]
    assert sum(line.startswith("broken: ") for line in lines) == 20  # of those spoilt here, and one each that was broken before
    assert "and 2 more, which --json lists" in lines
    assert len(desk.run("prepare_data.py", desk.yaml, "--json").json["broken_files"]) == 22
