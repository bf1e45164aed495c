"""docs/demo.svg: what the demo's scores promised and what the truth was, for each task. `python docs/draw_demo.py` draws it again.

The numbers are docs/demo.json, which is what `python -m benchmarks.journey demo --space quick --trials 8 --seed 0 --json` prints.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NUMBERS, PICTURE = Path(__file__).with_name("demo.json"), Path(__file__).with_name("demo.svg")
WIDTH, LEFT, RIGHT, TOP, ROW = 900, 170, 40, 118, 62
LEAST, TICK = 0.2, 0.1  # of the axis; it ends at 1
STYLE = """
    svg { font-family: "DejaVu Sans", Helvetica, Arial, sans-serif; font-size: 13px }
    .ground { fill: #ffffff } text { fill: #0f172a } .soft { fill: #475569; font-size: 12px } .grid { stroke: #e2e8f0 }
    .head { font-size: 16px; font-weight: bold } .range { stroke: #a5b4fc; stroke-width: 9 }
    .honest { stroke: #4338ca; stroke-width: 3 } .promised { fill: none; stroke: #64748b; stroke-width: 2 }
    .single { fill: #64748b } .vote { fill: #ea580c }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } text { fill: #e2e8f0 } .soft { fill: #94a3b8 } .grid { stroke: #1e293b }
      .range { stroke: #4f5bb5 } .honest { stroke: #c7d2fe } .promised { stroke: #94a3b8 } .single { fill: #94a3b8 } .vote { fill: #fb923c }
    }"""
LEGEND = (
    ("promised", "best single trial, on the photos that chose it"),
    ("single", "best single trial, truth"),
    ("honest", "honest score of the vote, 90 % interval"),
    ("vote", "exported vote, truth"),
)


def picture(result: Mapping[str, Any]) -> str:
    """The whole picture as SVG text."""
    height = TOP + ROW * len(result["rows"]) + 44
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "  <title>The demo: promised scores and true scores for each task</title>",
        f"  <style>{STYLE}\n  </style>",
        f'  <rect class="ground" width="{WIDTH}" height="{height}"/>',
        '  <text class="head" x="20" y="30">The demo: what was promised, and what was true</text>',
        *legend(),
        *axis(height - 36),
        *(line for n, row in enumerate(result["rows"]) for line in task(row, TOP + ROW * n + ROW // 2)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def legend() -> Iterator[str]:
    for n, (kind, words) in enumerate(LEGEND):
        left, line = 26 + 400 * (n % 2), 58 + 24 * (n // 2)
        yield from mark(kind, left + 8, line)
        yield f'  <text x="{left + 30}" y="{line + 4.5}">{words}</text>'


def axis(bottom: int) -> Iterator[str]:
    for n in range(round(LEAST / TICK), round(1 / TICK) + 1):
        yield f'  <path class="grid" d="M{at(n * TICK):g} {TOP}V{bottom}"/>'
        yield f'  <text class="soft" x="{at(n * TICK):g}" y="{bottom + 18}" text-anchor="middle">{n * TICK:.1f}</text>'
    yield f'  <text class="soft" x="20" y="{bottom + 18}">macro-F1</text>'


def task(row: Mapping[str, Any], line: int) -> Iterator[str]:
    name = row["task"] if row["task"] != "label" else "composed label"
    yield f'  <text x="20" y="{line}">{name}</text>'
    yield f'  <text class="soft" x="20" y="{line + 16}">{row["classes"]} classes</text>'
    honest = row["honest"]
    yield f'  <path class="range" d="M{at(honest["low"]):g} {line - 8}H{at(honest["high"]):g}"/>'
    yield f'  <path class="honest" d="M{at(honest["mean"]):g} {line - 16}v16"/>'
    yield from mark("promised", at(row["single_validation"]), line + 12)
    yield from mark("single", at(row["single_truth"]), line + 12)
    yield from mark("vote", at(row["exported_truth"]), line - 8)


def mark(kind: str, x: float, y: float) -> Iterator[str]:
    if kind == "honest":
        yield f'  <path class="range" d="M{x - 8:g} {y}h16"/><path class="honest" d="M{x:g} {y - 8}v16"/>'
    elif kind == "vote":
        yield f'  <path class="vote" d="M{x:g} {y - 8}l8 8l-8 8l-8 -8z"/>'
    else:
        yield f'  <circle class="{kind}" cx="{x:g}" cy="{y}" r="6"/>'


def at(score: float) -> float:
    """Where a score stands on the axis, in px."""
    return round(LEFT + (score - LEAST) / (1 - LEAST) * (WIDTH - LEFT - RIGHT), 1)


if __name__ == "__main__":
    PICTURE.write_text(picture(json.loads(NUMBERS.read_text(encoding="utf-8"))), encoding="utf-8")
