"""The layout of a bundle's folder: the names of its files, the number of its schema, and the list of checksums that says it is whole."""

from pathlib import Path

from system.files import file_hash

BUNDLE_SCHEMA = 1
CHECKSUMS, IMPORTED = "checksums.json", "imported"


def set_aside(bundle: Path) -> Path:
    """Where a bundle stands while another one takes its place."""
    return bundle.with_name(f".{bundle.name}.old")


def checksums(folder: Path) -> dict[str, str]:
    """Relative name -> SHA-256 of every file of a bundle but the list itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}
