"""How far an epoch is: told by who trains it, never at the cost of the training, and gone with the next owner."""

from pathlib import Path

from ledger.progress import progress_of, teller
from ledger.trials import TrialFolder


def test_what_is_told_is_read_and_the_next_owner_sweeps_it(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    assert progress_of(folder) is None
    tell = teller(folder)
    tell(3, 25, 100)
    tell(3, 26, 100)  # too soon to be worth a write
    seen = progress_of(folder)
    assert seen is not None
    assert (seen.epoch, seen.share) == (3, 0.25)
    assert seen.memory > 10_000_000
    tell(3, 100, 100)
    assert (last := progress_of(folder)) is not None
    assert last.share == 1.0
    folder.remove_leftovers()
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_or_another_version_s_is_no_progress(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    for text in ("", '{"epoch": 1', '{"epoch": 1, "phase": "judging"}', "[]", "null"):
        folder.progress.write_text(text)
        assert progress_of(folder) is None


def test_a_folder_that_is_gone_stops_no_training(tmp_path: Path) -> None:
    tell = teller(TrialFolder(tmp_path / "away"))
    for done in range(1, 4):
        tell(1, done, 3)
    assert list(tmp_path.iterdir()) == []
