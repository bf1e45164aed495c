"""What `prepare_data.py` says to people."""

from tests.verbs.conftest import PERSONS, Desk


def test_many_broken_files_are_counted_and_do_not_fill_the_screen(desk: Desk) -> None:
    for person in range(PERSONS):
        photo = desk.root / f"data/tiny/train/p{person:02d}/1.png"
        photo.write_bytes(photo.read_bytes()[:60])
    said = desk.run("prepare_data.py", desk.yaml).out
    broken = [line for line in said.splitlines() if "broken: " in line]  # 20 here, and one each that was broken before
    assert len(broken) == 21
    assert broken[-1].strip() == "broken: and 2 more, 22 in all; --json lists each"
    assert len(desk.run("prepare_data.py", desk.yaml, "--json").json["broken_files"]) == 22
