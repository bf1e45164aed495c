"""Writes the pages of a competition: what there is to show becomes files, and what there is not yet is said."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ledger.studies import study_folder
from reports.ensemble import ensemble_page, newest_ensemble
from reports.study import study_page
from system.errors import UserError
from system.files import replace_bytes
from system.paths import CompetitionPaths, check_writable, expanded, named_competition

Tell = Callable[[str], object]


def write_pages(
    competition: str,
    *,
    storage: str | Path | None = None,
    study: str | None = None,
    ensemble: str | None = None,
    sheets: bool = False,
    to: str | None = None,
    tell: Tell = lambda text: None,
) -> dict[str, Any]:
    """Write every page that there is something for.

    Args:
        competition: Its name, or the path of its YAML.
        storage: Where everything is kept.
        study: Only this study on the study page; the whole ledger for `None`.
        ensemble: The export to show; the newest for `None`.
        sheets: Whether contact sheets are made, too.
        to: A folder for the pages; `reports/` in the competition's storage for `None`.
        tell: Told what is being done.

    Returns:
        `competition`, under `pages` the path of each page by its name, under `left_out` why a page was not made, and under `sheets` the
        paths of the contact sheets.

    Raises:
        UserError: The study or the ensemble is unknown, the folder cannot be written, or there is nothing to show at all.
    """
    paths = named_competition(competition, storage)
    if study is not None:
        study_folder(paths.studies, study)
    folder = paths.reports if to is None else expanded(to).absolute()
    written = time.strftime("%Y-%m-%d %H:%M %Z")
    shown = ensemble or newest_ensemble(paths)
    made: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    on_sheets: list[Path] = []

    def keep(name: str, text: str) -> Path:
        if not made and not on_sheets:
            check_writable(folder)
        replace_bytes(folder / f"{name}.html", text.encode(), durable=False)
        return folder / f"{name}.html"

    def data() -> str:
        tell("reading the photos")
        page, pages = _data_pages(competition, paths, sheets, written)
        for number, text in enumerate(pages, start=1):
            tell(f"contact sheet {number}")
            on_sheets.append(keep(f"sheet-{number:03d}", text))
        return page

    def of_ensemble() -> str:
        if shown is None:
            raise UserError(f"nothing was exported yet; export_ensemble.py {paths.root.name} --to DIR does")
        return ensemble_page(paths, shown, written)

    pages: dict[str, Callable[[], str]] = {
        "study": lambda: study_page(paths, study, written),
        "ensemble": of_ensemble,
        "data": data,
    }
    for name, page in pages.items():
        try:
            made[name] = keep(name, page())
        except UserError as error:
            if name == "ensemble" and ensemble is not None:
                raise
            left_out[name] = "; ".join(error.faults)
    if not made:
        raise UserError(*(f"{name} page: {why}" for name, why in left_out.items()))
    return {
        "competition": paths.root.name,
        "pages": {name: str(path) for name, path in made.items()},
        "left_out": left_out,
        "sheets": [str(path) for path in on_sheets],
    }


def _data_pages(competition: str, paths: CompetitionPaths, sheets: bool, written: str) -> tuple[str, Iterator[str]]:
    """The data page, and the contact sheets, each made when it is its turn."""
    from competitions.loading import load_competition
    from competitions.prepare import prepare
    from reports.data import SheetLink, data_page
    from reports.sheets import sheet_page, sheets_of

    asked = load_competition(competition)
    prepared = prepare(asked, paths)
    cache = prepared.cache(asked.image_size)
    all_sheets = sheets_of(prepared) if sheets else []
    links = [SheetLink(f"sheet-{number:03d}.html", sheet.words) for number, sheet in enumerate(all_sheets, start=1)]
    page = data_page(prepared, cache, links, written)
    n = len(all_sheets)
    return page, (sheet_page(prepared, cache, sheet, number, n, written) for number, sheet in enumerate(all_sheets, start=1))
