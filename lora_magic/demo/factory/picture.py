"""A pretraining record as an .svg file: the loss above, the share of right facts below.

Knows numbers over tokens; does not know what was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lora_magic.numbers import figures
from lora_magic.views import svg
from lora_magic.views.axis import Scale, ticks
from lora_magic.views.html import Markup
from lora_magic.views.style import BLUE, GREEN

WIDTH, HEIGHT = 640.0, 372.0
LEFT, RIGHT = 52.0, 560.0
ABOVE, BELOW = (24.0, 164.0), (204.0, 344.0)


def picture(points: Sequence[tuple[float, float, float]]) -> str:
    """The .svg text of (tokens, loss in nats, share of right facts) at each measurement.

    Raises `ValueError` where nothing was measured.
    """
    if not points:
        raise ValueError("no point was measured")
    tokens, losses, rights = (list(values) for values in zip(*points, strict=True))
    last = max(tokens)
    across = Scale(0, last or 1, LEFT, RIGHT)
    loss = Scale(0, max(losses) * 1.05, ABOVE[1], ABOVE[0])
    right = Scale(0, 1, BELOW[1], BELOW[0])
    said = (
        f"Over {last / 1e6:.1f} million tokens the loss fell to {figures(losses[-1])} and the "
        f"share of right facts rose to {rights[-1]:.1%}"
    )
    return svg.file(
        WIDTH,
        HEIGHT,
        said,
        *_panel("loss, nats a token", across, loss, (tokens, losses), BLUE, figures),
        *_panel(
            "right facts on validation prompts", across, right, (tokens, rights), GREEN, _share
        ),
        svg.label(RIGHT + 12, BELOW[1] + 16, "tokens"),
    )


def _panel(
    title: str,
    across: Scale,
    up: Scale,
    line: tuple[Sequence[float], Sequence[float]],
    colour: str,
    told: Callable[[float], str],
) -> list[Markup]:
    places = [(across(x), up(y)) for x, y in zip(*line, strict=True)]
    rows = [(value, told(value)) for value, _ in ticks(up.low, up.high)]
    columns = [(value, _millions(value)) for value, _ in ticks(0, across.high)]
    x, y = places[-1]
    return [
        svg.label(LEFT, up.end - 8, title, size=12, weight="600"),
        *svg.axes(across, up, rows, columns),
        svg.path(places, colour, 2),
        svg.label(x + 8, y + 4, told(line[1][-1]), size=12, weight="600"),
    ]


def _share(value: float) -> str:
    return f"{value:.1%}".replace(".0%", "%")


def _millions(value: float) -> str:
    return f"{value / 1e6:g}M" if value else "0"
