"""What a trial was made of is recorded on any machine: users without a name, checkouts that git does not read."""

import subprocess
from pathlib import Path

import pytest

from trainables import provenance as module


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose number has no entry among the users, and whom git does not know."""
    for name in ("PODIUM_AUTHOR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    module.author.cache_clear()


def test_an_author_without_a_name_is_the_users_number(nobody: None) -> None:
    assert module.author() == "uid 54321"
    module.author.cache_clear()


def test_a_setting_names_the_author_where_the_machine_does_not(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_AUTHOR", "Kim")
    assert module.author() == "Kim"
    module.author.cache_clear()


def test_a_checkout_that_git_reads_and_a_folder_without_git_need_no_word(tmp_path: Path) -> None:
    assert module.unread_code(tmp_path) == ""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert module.unread_code(tmp_path) == ""


def test_a_checkout_of_another_owner_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test its refusal
    told = module.unread_code(tmp_path)
    assert "dubious ownership" in told
    assert told.endswith(f"git config --global --add safe.directory {tmp_path}")


@pytest.mark.parametrize("fault", ["no git", "damaged"])
def test_any_other_refusal_is_told_too(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    if fault == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    told = module.unread_code(tmp_path)
    assert told.startswith("provenance has no commit")
    assert ("no program git" if fault == "no git" else "/nowhere") in told
