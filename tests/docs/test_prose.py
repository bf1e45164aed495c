"""What every page keeps: sentences that one reads once, links that lead somewhere, and names of files and modules that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
MOST_WORDS = 35
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
SENTENCE_ENDS = re.compile(r"(?<=[.?!])[)*_\"]*\s+(?=[A-Z\"'(*_`<0-9-])")
EXAMPLES = {"first", "mine", "_mine", "pairs", "typo"}
"""Names of files that a page lets its reader write."""
ABBREVIATED = re.compile(r"\b(e\.g|i\.e|et al|vs|etc)\.")


def without_code(text: str) -> str:
    """The page without fenced and indented blocks and without tables."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^( {4}(?![*-] )|\s*\|).*$", "", text, flags=re.MULTILINE)


def sentences(text: str) -> Iterator[str]:
    """Every sentence of a page: an item of a list and a heading end one too; code and links count as one word."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", without_code(text))
    text = ABBREVIATED.sub(r"\1", re.sub(r"`[^`]*`", "CODE", text))
    for block in re.split(r"\n\s*\n|\n(?=\s*[*-] |\s*\d+\. |#)", text):
        yield from SENTENCE_ENDS.split(" ".join(block.split()))


def names_in(text: str) -> Iterator[tuple[str, str]]:
    """`("path", "a/b.py")` and `("module", "a.b.c")` for all of ours that a page writes as code, in a command or in a line."""
    code = "\n".join(
        re.findall(r"`[^`\n]+`|^ {4}.*$", text, re.MULTILINE) + re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    )
    for found in re.findall(rf"(?<![\w./-])((?:{'|'.join([*FOLDERS, 'tests'])})/[\w/]+\.(?:py|yaml))", code):
        if Path(found).stem not in EXAMPLES:
            yield "path", found
    for found in re.findall(rf"(?<![\w./\"'-])((?:{'|'.join(FOLDERS)})(?:\.\w+)+)", code):
        if not EXAMPLES & set(found.split(".")):
            yield "module", found


def defined(name: str) -> bool:
    """Whether a dotted name is a module or folder of ours, or something that a module defines."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        here = ROOT.joinpath(*parts[:cut])
        if here.is_dir():
            return cut == len(parts) or (cut == len(parts) - 1 and parts[-1] in definitions(here / "__init__.py"))
        if here.with_suffix(".py").is_file():
            return cut == len(parts) or parts[cut] in definitions(here.with_suffix(".py"))
    return False


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def definitions(path: Path) -> set[str]:
    """The names that a module defines at its top."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(target.id for target in targets if isinstance(target, ast.Name))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_is_longer_than_one_breath(page: str) -> None:
    long = [one for one in sentences((ROOT / page).read_text(encoding="utf-8")) if len(one.split()) > MOST_WORDS]
    assert not long, f"{len(long)} sentences of {page} have more than {MOST_WORDS} words:\n" + "\n\n".join(long)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_something(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)", text) + re.findall(
        r'(?:src|srcset)="(?!https?:)([^"]+)"', text
    )
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    pages = [name for name in re.findall(r"\bdocs/[\w-]+\.(?:md|svg|png)", text) if not (ROOT / name).exists()]
    assert not missing + pages


@pytest.mark.parametrize("page", PAGES)
def test_every_link_into_a_page_meets_a_heading(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [
        f"{name}#{anchor}"
        for name, anchor in links
        if anchor not in anchors((ROOT / page).parent / name if name else ROOT / page)
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_module_that_is_named_exists(page: str) -> None:
    found = list(names_in((ROOT / page).read_text(encoding="utf-8")))
    missing = [name for kind, name in found if not ((ROOT / name).is_file() if kind == "path" else defined(name))]
    assert not missing


def test_sentences_are_told_from_code_tables_and_abbreviations() -> None:
    text = (
        "# A head\n\nOne `a. b` two. Three et al. four [five six](x.md).\n\n* item\n  goes on\n\n| a. | b. |\n\n    code. Here\n"
    )
    assert list(filter(None, sentences(text))) == ["# A head", "One CODE two.", "Three et al four five six.", "* item goes on"]


def test_a_name_that_is_gone_is_found() -> None:
    assert list(names_in("see `ensemble/votes.py` and `bundle.predict`")) == [
        ("path", "ensemble/votes.py"),
        ("module", "bundle.predict"),
    ]
    assert defined("bundle.predict")
    assert defined("bundle.predict.open_bundle")
    assert not defined("bundle.gone")
    assert not defined("bundle.predict.gone")
