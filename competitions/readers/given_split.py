"""A split that the organisers give and no setting names: folders, columns and tables of validation photos, each as a note with the way out.

Photos that were handed out with labels are not passed over without a word: they can be learned from, as one more word for the role train.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from competitions.csv_tables import Table
from competitions.images.photo_files import list_photos
from competitions.readers.photo_paths import folders_in
from system.errors import listed
from system.texts import looks_of

JUDGE_WORDS = ("val", "valid", "validate", "validation", "dev", "eval", "holdout")
"""How people call the part that judges."""
PART_WORDS = (*JUDGE_WORDS, "train", "training", "test", "testing")


def folder_notes(top: Path, words: Mapping[str, Sequence[str]], classes: Sequence[str]) -> list[str]:
    """A note for each folder beside those of the roles that holds labelled photos, or is called as one that judges.

    Args:
        top: The folder that the words start from.
        words: Role -> its folders.
        classes: The class names; a folder that has a folder of one of them holds labelled photos.
    """
    named = [PurePosixPath(word) for some in words.values() for word in some]
    beside = {PurePosixPath(), *(word.parent for word in named if word.parts)}
    found = [above / name for above in sorted(beside) for name in folders_in(top / above)]
    notes, known = list[str](), {looks_of(name) for name in classes}
    for folder in found:
        if any(folder == word or folder in word.parents or word in folder.parents for word in named):
            continue
        if folder.name.lower() in JUDGE_WORDS or known & {looks_of(name) for name in folders_in(top / folder)}:
            n_photos = len(list_photos(top / folder).photos)
            way_out = f"to learn from them as well, write `{roles_with(words, str(folder))}`"
            notes += [f"the folder {folder} holds {n_photos} photos and no role names it, so they are passed over; {way_out}"] * (
                n_photos > 0
            )
    return notes


def roles_with(words: Mapping[str, Sequence[str]], word: str) -> str:
    """The setting `roles` in which photos of one more word are learned from.

    >>> roles_with({"train": ["train"], "test": ["test"]}, "val")
    'roles: {train: [train, val], test: test}'
    """
    more = {**words, "train": [*words.get("train", ()), word]}
    return f"roles: {{{', '.join(f'{role}: {_flow(some)}' for role, some in more.items())}}}"


def _flow(words: Sequence[str]) -> str:
    texts = [word if re.fullmatch(r"[\w./-]+", word) else f'"{word}"' for word in words]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def column_notes(table: Table, used: Collection[str | None]) -> list[str]:
    """A note for each column that no setting names and that says of each row whether it is train, val or test."""
    notes = []
    for header, texts in table.columns.items():
        words = dict.fromkeys(texts)
        if header not in used and 1 < len(words) <= len(PART_WORDS) and all(word.strip().lower() in PART_WORDS for word in words):
            notes.append(
                f"the column {header!r} says {listed(words)}, no setting names it, and all rows are learned from; "
                f"if it says what is train and what is test, write `columns: {{role: {header}}}` and its words in `roles`"
            )
    return notes


def table_notes(root: Path, table: str) -> list[str]:
    """A note for each table beside the competition's that is called as one of the photos that judge."""
    found = sorted(
        path.name
        for path in (root / table).parent.iterdir()
        if path.suffix.lower() in {".csv", ".tsv"} and path.stem.lower() in JUDGE_WORDS
    )
    return [
        f"the table {name} is there and its rows are passed over; to learn from them as well, add them to {table}"
        for name in found
    ]
