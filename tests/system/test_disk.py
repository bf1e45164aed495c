"""A full disk becomes one sentence, whoever meets it, and a verb that meets one ends with it."""

import errno
import pickle
from pathlib import Path

import pytest

from system import verbs
from system.disk import FullDiskError, bytes_text, free_bytes, full_disk, sentence, writing


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_what_a_full_disk_raises_becomes_a_sentence_that_names_the_storage(number: int, tmp_path: Path) -> None:
    folder = tmp_path / "storage" / "tiny" / "trials" / "0123" / "predictions"
    folder.mkdir(parents=True)
    with pytest.raises(FullDiskError) as caught, writing(folder, 4_000_000):
        raise OSError(number, "no space")
    told = sentence(caught.value)
    assert f"the disk of {tmp_path / 'storage'} is full (" in told
    assert "4.0 MB needed" in told
    assert told.startswith("your share of ") == (number == errno.EDQUOT)
    assert sentence(pickle.loads(pickle.dumps(caught.value))) == told


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), writing(tmp_path):
        raise PermissionError(errno.EACCES, "not yours")


def test_an_inner_sentence_is_not_covered_by_an_outer_one(tmp_path: Path) -> None:
    with pytest.raises(FullDiskError) as caught, writing(tmp_path / "outer"), writing(tmp_path / "inner"):
        raise OSError(errno.ENOSPC, "no space")
    assert str(tmp_path / "inner") in sentence(caught.value)


def test_a_verb_that_meets_a_full_disk_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = verbs.parser("does something", "do")

    def call(_: object) -> None:
        raise full_disk(tmp_path, 10)

    assert verbs.run(made, call, print, []) == verbs.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "10 bytes needed" in said.err


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_its_parents(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "there") > 0
    assert [bytes_text(n) for n in (999, 1000, 10**12)] == ["999 bytes", "1.0 kB", "1.0 TB"]
