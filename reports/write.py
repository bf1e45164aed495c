"""Writes the pages of a competition: what there is to show becomes files, what there is not yet is said."""

import time
from pathlib import Path
from typing import Any

from ledger.studies import study_folder
from reports.ensemble import ensemble_page, newest_ensemble
from reports.study import study_page
from system.errors import UserError, unknown
from system.files import replace_bytes
from system.paths import check_writable, expanded, named_competition


def write_pages(
    competition: str,
    *,
    storage: str | Path | None = None,
    study: str | None = None,
    ensemble: str | None = None,
    to: str | None = None,
) -> dict[str, Any]:
    """Write every page that there is something for.

    Args:
        competition: Its name, or the path of its YAML.
        storage: Where everything is kept.
        study: Only this study on the study page; the whole ledger for `None`.
        ensemble: The export to show; the newest for `None`.
        to: A folder for the pages; `reports/` in the competition's storage for `None`.

    Returns:
        `competition`, and under `pages` the path of each page by its name.

    Raises:
        UserError: The competition or the study is unknown, the folder cannot be written, or there is no trial yet.
    """
    paths = named_competition(competition, storage)
    if not paths.root.is_dir():
        there = sorted(path.name for path in paths.root.parent.iterdir()) if paths.root.parent.is_dir() else []
        raise UserError(unknown("competition in this storage", paths.root.name, there) + "; run_search.py starts one")
    if study is not None:
        study_folder(paths.studies, study)
    folder = paths.reports if to is None else expanded(to).absolute()
    written = time.strftime("%Y-%m-%d %H:%M %Z")
    pages = {"study": study_page(paths, study, written)}
    shown = ensemble or newest_ensemble(paths)
    if shown is not None:
        pages["ensemble"] = ensemble_page(paths, shown, written)
    check_writable(folder)
    for name, text in pages.items():
        replace_bytes(folder / f"{name}.html", text.encode(), durable=False)
    return {"competition": paths.root.name, "pages": {name: str(folder / f"{name}.html") for name in pages}}
