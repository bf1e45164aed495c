"""Where things are: the storage, a competition's folders in it, and the settings of this machine.

Settings come from the command line, then the environment, then `.env` in the working folder. No record holds a path from here.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from system.disk import FullDiskError, writing
from system.errors import UserError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@=-]*")


@dataclass(frozen=True)
class CompetitionPaths:
    """`<storage>/<competition>/{data,trials,studies,imports,ensembles,reports}`."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def studies(self) -> Path:
        return self.root / "studies"

    @property
    def imports(self) -> Path:
        return self.root / "imports"

    @property
    def ensembles(self) -> Path:
        return self.root / "ensembles"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def features(self) -> Path:
        """Features of frozen backbones, where a probe or somebody else has computed some."""
        return self.data / "features"

    @property
    def twin_gaps(self) -> Path:
        """What `prepare_data.py` found of each split's twin gap, for whoever loads no features."""
        return self.data / "twin_gaps.json"

    def cache(self) -> Path:
        """The folder of decoded images: `PODIUM_CACHE/<competition>` on the node's own disk, else below `data`."""
        own = setting("PODIUM_CACHE")
        return expanded(own) / self.root.name if own else self.data / "cache"


def competition_paths(competition: str, storage: str | Path | None) -> CompetitionPaths:
    """The folders of one competition below `storage`, else `PODIUM_STORAGE`, else `./runs`. Nothing is made yet."""
    root = expanded(storage or setting("PODIUM_STORAGE") or "runs").absolute()
    return CompetitionPaths(root / competition)


def named_competition(given: str, storage: str | Path | None) -> CompetitionPaths:
    """The folders of the competition that a verb is told: by its name, or by the path of its YAML.

    Raises:
        UserError: It is no name.
    """
    name = Path(given).stem if given.endswith((".yaml", ".yml")) else given
    check_name("competition", name)
    return competition_paths(name, storage)


def data_root() -> Path:
    """The folder that holds the data sets: `PODIUM_DATA`, else `./data`."""
    return expanded(setting("PODIUM_DATA") or "data").absolute()


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` replaced by the home folder.

    Raises:
        UserError: The path begins with `~`, and this user has no home folder, or there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"the home folder that {str(path)!r} starts from is not known (no HOME, and no entry among the users); "
            "write the path out, or set HOME"
        ) from error


def setting(name: str) -> str | None:
    """The value of `name` in the environment, else in `.env`; `None` where neither has it or it is empty."""
    return os.environ.get(name) or _dotenv().get(name) or None


def check_writable(folder: Path) -> None:
    """Make `folder` and write a byte into it.

    Raises:
        FullDiskError: There is no room for it.
        UserError: It cannot be written.
    """
    probe = folder / f".writable.{os.getpid()}"
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
    except FullDiskError:
        raise
    except OSError as error:
        raise UserError(
            f"storage must be a folder that can be written, got {folder} ({error.strerror}); "
            "give another with --storage DIR or PODIUM_STORAGE"
        ) from error


def check_name(kind: str, name: str) -> None:
    """Refuse a name that could leave its folder or confuse a shell.

    Raises:
        UserError: The name has other characters than letters, digits, `_ . @ = -`.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{kind} names are letters, digits and _ . @ = -, got {name!r}")


def _dotenv() -> dict[str, str]:
    path = Path(".env")
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f".env must be UTF-8 ({error}); save it anew as UTF-8") from error
    lines = (line.strip().removeprefix("export ") for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
