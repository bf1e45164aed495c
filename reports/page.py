"""One HTML page that stands alone: a template and its values become text that asks no network and runs no script but ours.

A content security policy names the scripts by their hashes and forbids everything else, so a name of a class or a file that looks like a
script stays text. Jinja2 escapes every value on top of that. Charts are plotly figures as plain dicts; plotly itself is in the page.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
Chart = dict[str, Any]
"""A plotly figure: `data`, `layout`, and `label`, which says in words what it shows."""


def render(template: str, values: Mapping[str, Any], charts: Mapping[str, Chart]) -> str:
    """The whole page.

    Args:
        template: The name of a file in `templates/`, without ending.
        values: What the template names.
        charts: Name -> chart; the template places each by its name. Without any, plotly stays out of the page.
    """
    own = _file("page.js")
    scripts = [*([_plotly()] if charts else []), own]
    return (
        _environment()
        .get_template(f"{template}.html")
        .render(
            values,
            charts=dict(charts),
            style=Markup(_file("page.css")),
            scripts=[Markup(script) for script in scripts],
            policy=_policy(scripts),
        )
    )


def _policy(scripts: list[str]) -> str:
    """Only these scripts run, photos come from the page itself, and nothing is asked of anybody. Plotly writes styles of its own."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


@lru_cache(1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"score": score_text, "duration": duration_text, "count": count_text, "share": share_text, "data": data_text}
    return made


@lru_cache(2)
def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@lru_cache(1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def data_text(value: Any) -> Markup:
    """JSON for a data block of the page: no text in it can end the block."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def score_text(value: float | None, signed: bool = False) -> str:
    """Four digits; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def share_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def count_text(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def duration_text(seconds: float) -> str:
    """In the two largest units.

    >>> duration_text(4_330), duration_text(75), duration_text(3.21)
    ('1 h 12 min', '1 min 15 s', '3.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"
