"""What a worker is told about this machine: it runs in a folder of Ray's own, where a relative path or a `.env` means nothing."""

from pathlib import Path

import pytest

from search.tune.ray_session import _passed_on


def test_settings_from_dotenv_reach_workers_as_absolute_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PODIUM_DATA", "PODIUM_CACHE", "PODIUM_AUTHOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert _passed_on()["PODIUM_DATA"] == str(tmp_path / "data")
    (tmp_path / ".env").write_text("PODIUM_DATA=photos\nexport PODIUM_CACHE='fast/disk'\nPODIUM_AUTHOR=Kim\n")
    told = _passed_on()
    assert told["PODIUM_DATA"] == str(tmp_path / "photos")
    assert told["PODIUM_CACHE"] == str(tmp_path / "fast/disk")
    assert told["PODIUM_AUTHOR"] == "Kim"
    monkeypatch.setenv("PODIUM_DATA", "/elsewhere")
    assert _passed_on()["PODIUM_DATA"] == "/elsewhere"
