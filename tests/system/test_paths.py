"""Where things are: the command line, then the environment, then `.env`."""

from pathlib import Path

import pytest

from system.errors import UserError
from system.paths import check_name, check_writable, competition_paths, data_root, setting


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PODIUM_STORAGE", "PODIUM_DATA", "PODIUM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_settings_everything_is_below_the_working_folder(here: Path) -> None:
    paths = competition_paths("demo", None)
    assert paths.root == here / "runs" / "demo"
    assert data_root() == here / "data"
    assert paths.cache() == here / "runs" / "demo" / "data" / "cache"
    names = ["data", "trials", "studies", "imports", "ensembles"]
    assert [getattr(paths, name).relative_to(paths.root).as_posix() for name in names] == names
    assert not paths.root.exists(), "asking where things are makes nothing"


def test_dotenv_is_read_the_environment_wins_and_the_command_line_wins_over_both(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "# ours",
        "",
        "export PODIUM_DATA='/of file/데이터'",
        'PODIUM_STORAGE = "/of/file=x"',
        "# PODIUM_CACHE=/no",
        "nonsense",
    ]
    (here / ".env").write_text("\r\n".join(lines), encoding="utf-8-sig")
    assert data_root() == Path("/of file/데이터")
    assert competition_paths("demo", None).root == Path("/of/file=x/demo")
    assert setting("PODIUM_CACHE") is None
    monkeypatch.setenv("PODIUM_STORAGE", "/of/environment")
    assert competition_paths("demo", None).root == Path("/of/environment/demo")
    monkeypatch.setenv("PODIUM_DATA", "")
    assert data_root() == Path("/of file/데이터"), "an empty setting is none"
    assert competition_paths("demo", "given").root == here / "given" / "demo"


def test_the_cache_may_lie_on_the_nodes_own_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_CACHE", "/local/ssd")
    assert competition_paths("demo", "/mnt/shared").cache() == Path("/local/ssd/demo")
    assert competition_paths("demo", "/mnt/shared").data == Path("/mnt/shared/demo/data")


def test_a_home_folder_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("PODIUM_DATA", "~/photos")
    assert data_root() == Path("/home/somebody/photos")
    assert competition_paths("demo", "~/runs").root == Path("/home/somebody/runs/demo")


def test_a_storage_that_cannot_be_written_is_the_users_to_change(here: Path) -> None:
    (here / "file").write_bytes(b"")
    for folder in (here / "file", here / "file" / "demo", Path("/proc/podium")):
        with pytest.raises(
            UserError, match=r"storage must be a folder that can be written, got .*--storage DIR or PODIUM_STORAGE"
        ):
            check_writable(folder)
    check_writable(here / "new" / "demo")
    assert list((here / "new" / "demo").iterdir()) == []


@pytest.mark.parametrize("name", ["a", "demo-2026", "age@mask=none", "v1.0_b"])
def test_a_plain_name_is_taken(name: str) -> None:
    check_name("study", name)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "-rf", "a/b", "a b", "a\n", "$(x)", "나", "a\\b"])
def test_a_name_that_could_leave_its_folder_or_confuse_a_shell_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="study names are letters, digits"):
        check_name("study", name)


@pytest.mark.parametrize("given", ["~nobody-of-this-name/runs", "~"])
def test_a_home_folder_that_is_not_known_is_the_users_fault_with_a_way_out(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if given == "~":
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(UserError, match=r"is not known .* set HOME"):
        competition_paths("demo", given)
