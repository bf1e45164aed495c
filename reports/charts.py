"""Plotly figures as plain dicts: what was reported of some trials becomes `data` and `layout`; the page gives them its colours.

Colours of traces are told apart on white and on black (at least 3:1 on both, WCAG 2.2). None of these charts needs WebGL.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reports.page import Chart
from reports.trial_table import STATUSES, ReportedTrial, varying

PALETTE = ("#3b82c4", "#d9662b", "#2f9e69", "#a86fd0", "#a98619", "#d0526b", "#4f8f9c", "#8d7565")
MUTED = "#8a8f98"
STATUS_COLOURS = dict(
    zip(STATUSES, ("#2f9e69", "#3b82c4", "#4f8f9c", "#a98619", "#d0526b", "#d0526b", MUTED, MUTED), strict=True)
)
QUALITY = ("#3b82c4", "#5b86b4", "#7d8a9d", "#a07a5f", "#d9662b")
"""From the worst fifth to the best."""
NAMED_CURVES = 8
MOST_AXES = 10


def chart(label: str, data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], height: int = 340) -> Chart:
    """A figure, and in words what it shows, for who cannot see it."""
    return {"label": label, "data": [dict(trace) for trace in data], "layout": {"height": height, **layout}}


def status_bars(by_target: Mapping[str, Sequence[ReportedTrial]]) -> Chart:
    """Trials by status, a bar per target."""
    counted = {target: Counter(trial.status for trial in trials) for target, trials in by_target.items()}
    there = [status for status in STATUSES if any(counts[status] for counts in counted.values())]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": status,
            "y": list(counted),
            "x": [counts[status] for counts in counted.values()],
            "marker": {"color": STATUS_COLOURS[status]},
        }
        for status in there
    ]
    layout = {"barmode": "stack", "xaxis": {"title": {"text": "trials"}}, "yaxis": {"autorange": "reversed", "type": "category"}}
    return chart("Trials by status, per target", data, layout, 120 + 34 * len(counted))


def curve_lines(target: str, trials: Sequence[ReportedTrial]) -> Chart:
    """The validation score after each epoch: the best trials by name, the others in grey."""
    drawn = [trial for trial in trials if trial.curve]
    others = drawn[NAMED_CURVES:]
    x: list[int | None] = []
    y: list[float | None] = []
    for trial in others:
        x += [*range(1, len(trial.curve) + 1), None]
        y += [*trial.curve, None]
    grey = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{len(others)} others",
        "x": x,
        "y": y,
        "line": {"color": MUTED, "width": 1},
        "marker": {"size": 3},
        "opacity": 0.6,
        "hoverinfo": "skip",
    }
    named = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": trial.trial_id,
            "x": list(range(1, len(trial.curve) + 1)),
            "y": list(trial.curve),
            "line": {"color": PALETTE[number % len(PALETTE)], "width": 2},
            "marker": {"size": 5},
        }
        for number, trial in enumerate(drawn[:NAMED_CURVES])
    ]
    layout = {"xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"}, "yaxis": {"title": {"text": "score"}}}
    return chart(f"Learning curves of target {target}", [*([grey] if others else []), *named], layout)


def parallel_coordinates(target: str, trials: Sequence[ReportedTrial]) -> Chart | None:
    """One line per finished trial through its settings to its score, coloured by fifths of the score.

    Lines of one fifth are one trace, so the legend hides and shows them. `None` where fewer than two trials differ in a setting.
    """
    scored = [trial for trial in trials if trial.compares]
    axes = dict(list(varying(scored).items())[:MOST_AXES])
    if len(scored) < 2 or not axes:
        return None
    places = {name: _places(values) for name, values in axes.items()}
    lowest, highest = scored[-1].score or 0.0, scored[0].score or 0.0
    names = [*axes, "score"]
    traces = []
    for fifth, colour in enumerate(QUALITY):
        some = [trial for rank, trial in enumerate(scored) if 4 - 5 * rank // len(scored) == fifth]
        x: list[str | None] = []
        y: list[float | None] = []
        text: list[str] = []
        for trial in some:
            score = trial.score or 0.0
            x += [*names, None]
            y += [*(places[name][trial.settings.get(name)] for name in axes)]
            y += [(score - lowest) / ((highest - lowest) or 1.0), None]
            text += [*(f"{trial.trial_id} {name}: {setting_text(trial.settings.get(name))}" for name in axes)]
            text += [f"{trial.trial_id} score: {score:.4f}", ""]
        name = ("worst fifth", "4th", "3rd", "2nd", "best fifth")[fifth]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": x,
                "y": y,
                "text": text,
                "hoverinfo": "text",
                "line": {"color": colour, "width": 1 + 0.4 * fifth},
                "marker": {"size": 4},
            }
        )
    ends = {name: (setting_text(values[0]), setting_text(values[-1])) for name, values in axes.items()}
    ends["score"] = (f"{lowest:.4f}", f"{highest:.4f}")
    notes = [
        {"x": name, "y": at, "text": text[:14], "showarrow": False, "yanchor": anchor, "textangle": -30, "font": {"size": 10}}
        for name, two in ends.items()
        for at, anchor, text in ((-0.03, "top", two[0]), (1.03, "bottom", two[1]))
    ]
    layout = {
        "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": names, "side": "bottom"},
        "yaxis": {"visible": False, "range": [-0.2, 1.2]},
        "annotations": notes,
        "hovermode": "closest",
    }
    shown = [trace for trace in traces if trace["x"]]
    return chart(f"Settings of the trials of target {target}, one line each, coloured by score", shown, layout, 400)


def bars(label: str, names: Sequence[str], values: Sequence[float], *, unit: str) -> Chart:
    """Horizontal bars, the greatest first."""
    order = sorted(range(len(names)), key=lambda n: (-values[n], names[n]))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [values[n] for n in order],
            "y": [names[n] for n in order],
            "marker": {"color": PALETTE[0]},
            "showlegend": False,
        }
    ]
    layout = {"xaxis": {"title": {"text": unit}}, "yaxis": {"autorange": "reversed", "type": "category"}}
    return chart(label, data, layout, 110 + 26 * len(names))


def time_and_score(by_target: Mapping[str, Sequence[ReportedTrial]]) -> Chart:
    """Minutes of training against the score, a colour per target."""
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": target,
            "x": [round(trial.seconds / 60, 3) for trial in trials if trial.score is not None],
            "y": [trial.score for trial in trials if trial.score is not None],
            "text": [f"{trial.trial_id} ({trial.status})" for trial in trials if trial.score is not None],
            "marker": {"color": PALETTE[number % len(PALETTE)], "size": 8, "symbol": number % 8},
        }
        for number, (target, trials) in enumerate(by_target.items())
    ]
    layout = {"xaxis": {"title": {"text": "minutes of training"}, "rangemode": "tozero"}, "yaxis": {"title": {"text": "score"}}}
    return chart("Minutes of training against the score, per trial", data, {**layout, "hovermode": "closest"})


def setting_text(value: Any) -> str:
    """A value as people read it.

    >>> [setting_text(value) for value in (0.00031622776, 64, "focal", None, False)]
    ['0.000316', '64', 'focal', 'none', 'no']
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _places(values: Sequence[Any]) -> dict[Any, float]:
    """Where each value stands on an axis from 0 to 1: numbers by size, or by logarithm over a wide range; texts evenly."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(numbers) < 3:
        return {value: number / (len(values) - 1) for number, value in enumerate(values)}
    wide = numbers[0] > 0 and numbers[-1] / numbers[0] > 20
    scaled = [math.log(value) if wide else float(value) for value in numbers]
    return {value: (at - scaled[0]) / (scaled[-1] - scaled[0]) for value, at in zip(values, scaled, strict=True)}
