"""Draws small curves and intervals as SVG, which needs no script; colours are those of the page's style sheet."""

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _EDGE = 240.0, 84.0, 8.0


def curve(values: Sequence[float], label: str, *, first: float | None = None, low: float, high: float) -> Markup:
    """Return a curve over 1, 2, ... with points.

    Args:
        values: Its values.
        label: What it shows, in words, for those who do not see it.
        first: The value of a hollow point at 1; None draws none.
        low: Value at the lower edge.
        high: Value at the upper edge.
    """
    step = (_WIDTH - 2 * _EDGE) / max(1, len(values) - 1)
    places = [(_EDGE + number * step, _height(value, low, high)) for number, value in enumerate(values)]
    line = Markup('<polyline points="{}"/>').format(" ".join(f"{x:.1f},{y:.1f}" for x, y in places))
    points = [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(x, y) for x, y in places]
    if first is not None:
        hollow = Markup('<circle class="hollow" cx="{:.1f}" cy="{:.1f}" r="4"/>')
        points.append(hollow.format(_EDGE, _height(first, low, high)))
    return _svg("curve", _WIDTH, _HEIGHT, label, [line, *points])


def interval(mean: float, low: float, high: float, label: str, *, claimed: tuple[float, float], scale: float) -> Markup:
    """Return an interval with its mean on a line through 0, above the part of the line where a claim says it lies.

    Args:
        mean: The mean.
        low: Lower end.
        high: Upper end.
        label: What it shows, in words, for those who do not see it.
        claimed: The ends of the part that is claimed; infinite where it has no end.
        scale: The value at the right edge; its negative is at the left one.
    """

    def x(value: float) -> float:
        return _EDGE + (max(-1.0, min(1.0, value / scale)) + 1) / 2 * (_WIDTH - 2 * _EDGE)

    start, end = map(x, claimed)
    parts = [
        Markup('<rect x="{:.1f}" y="3" width="{:.1f}" height="18"/>').format(start, end - start),
        Markup('<line class="axis" x1="{:.1f}" x2="{:.1f}" y1="12" y2="12"/>').format(_EDGE, _WIDTH - _EDGE),
        Markup('<line class="zero" x1="{0:.1f}" x2="{0:.1f}" y1="1" y2="23"/>').format(x(0)),
        Markup('<line class="range" x1="{:.1f}" x2="{:.1f}" y1="12" y2="12"/>').format(x(low), x(high)),
        Markup('<circle cx="{:.1f}" cy="12" r="4"/>').format(x(mean)),
    ]
    return _svg("interval", _WIDTH, 24.0, label, parts)


def _height(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return _HEIGHT - _EDGE - max(0.0, min(1.0, share)) * (_HEIGHT - 2 * _EDGE)


def _svg(name: str, width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    head = Markup(
        '<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" height="{:.0f}" role="img" aria-label="{}">'
    )
    return head.format(name, width, height, width, height, label) + Markup("").join(parts) + Markup("</svg>")
