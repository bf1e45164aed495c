"""What the pages show as a competition's file is one."""

import re
from pathlib import Path

from competitions.loading import parse_competition
from competitions.targets import targets

DOCS = Path(__file__).parents[2] / "docs"


def yaml_of(page: str) -> str:
    found = re.search(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found, f"{page} shows no YAML"
    return found[1]


def test_the_competition_that_is_shown_is_one() -> None:
    competition = parse_competition(yaml_of("own-competition.md"), "shown", where="own-competition.md")
    assert set(competition.all_splits) == {"groups", "random", "holdout10"}
    assert list(targets(competition))[:3] == ["mask", "gender", "age"]


def test_the_targets_that_are_shown_are_some() -> None:
    whole = yaml_of("own-competition.md").replace("[wear, incorrect, normal]", "[wear, normal, incorrect]")
    text = re.sub(r"^targets: .*\n", yaml_of("targets.md"), whole, flags=re.MULTILINE)
    known = targets(parse_competition(text, "shown", where="targets.md"))
    assert known["age@mask=normal"].where == {"mask": (1, 2)}
    assert known["joined"].init_from == "0f3a5c7e9b12"
