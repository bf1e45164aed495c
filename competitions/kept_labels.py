"""The photos and labels that trials were judged by, as a study kept them: no photo is read and no YAML is needed."""

import logging

from competitions.prepare import Prepared, load_prepared
from ledger.studies import study_folders
from system.errors import UserError
from system.paths import CompetitionPaths

log = logging.getLogger("podium.competitions")


def prepared_of(paths: CompetitionPaths, target: str, data: str) -> Prepared:
    """The data of some study in this storage that was made for them.

    Args:
        paths: The competition's folders.
        target: The target's name.
        data: Fingerprint of its data and split, as its trials have it.

    Raises:
        UserError: No study in this storage was made for them.
    """
    for study in study_folders(paths.studies):
        try:
            plan = study.plan()
        except UserError as error:
            log.warning("study %s is left out: %s", study.name, error)
            continue
        if plan.get("questions", {}).get(target, {}).get("data") == data:
            return load_prepared(paths, plan["prepared"])
    raise UserError(
        f"no study in this storage has the labels that trials of {target} on data {data} were judged by; start one on the same data: "
        f"run_search.py {paths.root.name} --targets {target}"
    )
