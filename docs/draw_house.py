"""docs/house.svg: the folders as rooms on their levels, their wings, and who uses whom. `python docs/draw_house.py` draws it again.

A test compares the picture with the folders and imports that are there, so a new wing or a new arrow must be drawn here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PICTURE = Path(__file__).with_name("house.svg")
WIDTH, LEFT, GAP = 1000, 96, 14
ROOM_HEIGHT, FLOOR_GAP, ROOF_HEIGHT = 98, 34, 104
CHARACTER = 6.7  # width of a character of 11 px, in px, with room to spare


@dataclass(frozen=True)
class Room:
    """A folder: its name, what it is for, a line about its files, its wings with what they do, and its share of the floor's width."""

    name: str
    holds: str
    words: str
    wings: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0


FLOORS: tuple[tuple[int, tuple[Room, ...]], ...] = (
    (5, (Room("reports", "WHAT PEOPLE LOOK AT", "pages of a ledger, an ensemble and the photos; what each setting did"),)),
    (
        4,
        (
            Room("search", "HOW TRIALS ARE SCHEDULED", "plan, variations, effects, trackers", {"tune": "alone imports Ray"}, 0.4),
            Room("bundle", "WHAT IS EXPORTED", "gather what may vote, export the choice, predict from a folder", {}, 0.6),
        ),
    ),
    (
        3,
        (
            Room("search_spaces", "WHAT TO TRY", "a file per space", {}, 0.19),
            Room(
                "trainables",
                "HOW ONE TRIAL IS TRAINED",
                "networks, losses, views",
                {"reproduce": "", "start": "", "probes": ""},
                0.24,
            ),
            Room(
                "ensemble",
                "HOW THEY VOTE",
                "arithmetic on arrays; no torch",
                dict.fromkeys(("scoring", "postprocess", "label", "plan", "selection", "views", "shift"), ""),
                0.38,
            ),
            Room("submissions", "WHAT IS HANDED IN", "forms and files", {"external": "files vote"}, 0.19),
        ),
    ),
    (
        2,
        (
            Room(
                "competitions",
                "WHAT IS ASKED",
                "a YAML each; tasks, targets, labels, splits, metrics",
                {
                    "readers": "any layout",
                    "images": "decode once, copies",
                    "draft": "a folder becomes a YAML",
                    "demo": "draws itself",
                    "twins": "honest folds",
                },
            ),
        ),
    ),
    (
        1,
        (
            Room(
                "ledger",
                "WHAT HAPPENED",
                "trials, studies, predictions; plain files that only these functions write",
                {
                    "index": "SQLite that rebuilds itself",
                    "merge": "a team-mate's ledger comes in",
                    "repair": "damaged files are named and healed",
                },
            ),
        ),
    ),
    (0, (Room("system", "WHAT THE MACHINE GIVES", "errors, files, disk, claims, checksums, paths, the frame of every verb"),)),
)
USES = (
    ("search", "search_spaces"),
    ("search", "trainables"),
    ("search", "ensemble"),
    ("bundle", "trainables"),
    ("bundle", "ensemble"),
    ("bundle", "submissions"),
)
"""Who imports whom between levels 4 and 3; elsewhere every room may use every floor under it."""
DRAWN_LEVEL = 4
VERBS = (
    ("new_competition", "prepare_data", "run_search", "show_trials", "export_ensemble"),
    ("predict", "check_submission", "reproduce_trial", "import_predictions", "merge_ledgers", "make_report"),
)
CAPTION = (
    "Between levels 4 and 3 arrows point from a room to those it imports. Elsewhere a room may use all floors under it. "
    "Nobody imports a room beside its own or above."
)
STYLE = """
    svg { font-family: "DejaVu Sans", Helvetica, Arial, sans-serif; font-size: 12px }
    .ground { fill: #ffffff } text { fill: #0f172a } .soft { fill: #475569 } .name { font-size: 16px; font-weight: bold }
    .roof, .room { stroke: #64748b; stroke-width: 1.4 } .roof { fill: #f1f5f9 } .level0, .level1 { fill: #ede9fe }
    .level2 { fill: #e0f2fe } .level3 { fill: #dcfce7 } .level4 { fill: #fef3c7 }
    .level5 { fill: #fee2e2 } .wing { fill: #ffffff; stroke: #94a3b8 }
    .small { font-size: 11px } .arrow { stroke: #475569; stroke-width: 1.6; fill: none; marker-end: url(#tip) } .tip { fill: #475569 }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 } text { fill: #e2e8f0 } .soft { fill: #94a3b8 } .roof { fill: #1e293b } .roof, .room { stroke: #94a3b8 }
      .level0, .level1 { fill: #2e1f56 } .level2 { fill: #0c3550 } .level3 { fill: #123d24 } .level4 { fill: #453410 }
      .level5 { fill: #4a1d24 }
      .wing { fill: #0d1117; stroke: #64748b } .arrow { stroke: #cbd5e1 } .tip { fill: #cbd5e1 }
    }"""


def house() -> str:
    """The whole picture as SVG text."""
    height = top_of(len(FLOORS)) + 6
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "  <title>The house of Podium: folders on their levels; imports point downwards only</title>",
        f"  <style>{STYLE}\n  </style>",
        '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>',
        f'  <rect class="ground" width="{WIDTH}" height="{height}"/>',
        *roof(),
        *(line for floor in range(len(FLOORS)) for line in rooms(floor)),
        *arrows(),
        f'  <text class="soft small" x="{LEFT}" y="{height - 14}">{CAPTION}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def roof() -> Iterator[str]:
    top, bottom = 24, 24 + ROOF_HEIGHT
    yield f'  <path class="roof" d="M{LEFT - 20} {bottom}L{LEFT + 190} {top}H{WIDTH - 204}L{WIDTH + 6 - GAP} {bottom}z"/>'
    middle = (LEFT + WIDTH - GAP) / 2
    yield f'  <text class="name" x="{middle}" y="{top + 26}" text-anchor="middle">the verbs</text>'
    words = "parse, one call, print: each calls the room it needs"
    yield f'  <text class="soft small" x="{middle}" y="{top + 44}" text-anchor="middle">{words}</text>'
    for row, names in enumerate(VERBS):
        yield f'  <text x="{middle}" y="{top + 68 + 20 * row}" text-anchor="middle">{" · ".join(f"{name}.py" for name in names)}</text>'


def rooms(floor: int) -> Iterator[str]:
    level, row = FLOORS[floor]
    top = top_of(floor)
    yield f'  <text class="soft" x="14" y="{top + 52}">level {level}</text>'
    for room, (left, width) in zip(row, spans(row), strict=True):
        yield f'  <rect class="room level{level}" x="{left:g}" y="{top}" width="{width:g}" height="{height_of(floor)}" rx="6"/>'
        yield f'  <text class="name" x="{left + 12:g}" y="{top + 24}">{room.name}/</text>'
        yield f'  <text class="soft small" x="{left + 12:g}" y="{top + 42}">{room.holds}</text>'
        yield f'  <text class="small" x="{left + 12:g}" y="{top + 60}">{room.words}</text>'
        at, line = left + 12, top + 71
        for text in (f"{wing}: {words}" if words else wing for wing, words in room.wings.items()):
            wide = CHARACTER * len(text) + 10
            if at + wide > left + width:
                at, line = left + 12, line + 23
            yield f'  <rect class="wing" x="{at:g}" y="{line}" width="{wide:g}" height="19" rx="4"/>'
            yield f'  <text class="small" x="{at + wide / 2:g}" y="{line + 13.5}" text-anchor="middle">{text}</text>'
            at += wide + 4


def arrows() -> Iterator[str]:
    """Between levels 4 and 3 one per pair of folders, elsewhere one per floor."""
    where = {room.name: span for _, row in FLOORS for room, span in zip(row, spans(row), strict=True)}
    upper = [level for level, _ in FLOORS].index(DRAWN_LEVEL)
    top, bottom = top_of(upper) + height_of(upper) + 2, top_of(upper + 1) - 2
    for user, used in USES:
        (left, width), (left_below, width_below) = where[user], where[used]
        end = left_below + width_below / 2
        start = min(max(end, left + 24), left + width - 24)
        yield f'  <path class="arrow" d="M{start:g} {top}L{end + (24 if user == "bundle" else -24) * (used == "ensemble"):g} {bottom}"/>'
    for floor in (floor for floor in range(len(FLOORS) - 1) if floor != upper):
        for share in (0.2, 0.5, 0.8):
            at = LEFT + share * (WIDTH - GAP - LEFT)
            yield f'  <path class="arrow" d="M{at:g} {top_of(floor) + height_of(floor) + 2}V{top_of(floor + 1) - 2}"/>'
    for left, width in spans(FLOORS[0][1]):
        yield f'  <path class="arrow" d="M{left + width / 2:g} {24 + ROOF_HEIGHT + 2}V{top_of(0) - 2}"/>'


def top_of(floor: int) -> int:
    return 24 + ROOF_HEIGHT + FLOOR_GAP + sum(height_of(above) + FLOOR_GAP for above in range(floor))


def height_of(floor: int) -> int:
    """The second floor has room for two rows of wings."""
    return ROOM_HEIGHT + 22 if FLOORS[floor][0] == 3 else ROOM_HEIGHT


def spans(row: Sequence[Room]) -> list[tuple[float, float]]:
    """Left edge and width of each room of a floor."""
    free = WIDTH - GAP - LEFT - GAP * (len(row) - 1)
    widths = [round(room.share * free, 1) for room in row]
    return [(LEFT + sum(widths[:n]) + GAP * n, width) for n, width in enumerate(widths)]


if __name__ == "__main__":
    PICTURE.write_text(house(), encoding="utf-8")
