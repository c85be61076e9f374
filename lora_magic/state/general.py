"""Plain English about many things: short texts that belong to no task, for any base that writes.

Written for this package. Knows words; knows no model and no measure.
"""

from __future__ import annotations

#: Each is read alone, so that a short context holds it too.
TEXTS: tuple[str, ...] = (
    "The river rises in the hills and reaches the sea after about two hundred miles.",
    "She closed the window, put the kettle on, and waited for her brother to come home.",
    "Water boils at a lower temperature in the mountains because the air presses less on it.",
    "In 1998 the town council voted to move the market from the old square to the riverside.",
    "If the engine does not start, check that the battery is charged and the fuel tap is open.",
    "Bees find their way back to the hive by the position of the sun and by what they remember.",
    '"I never said it would be easy," the teacher answered, "only that it would be worth it."',
    "Add the flour slowly, stir until the dough is smooth, and let it rest for half an hour.",
    "The company expects that sales will grow by about five per cent in the next three years.",
    "A triangle with three equal sides also has three equal angles of sixty degrees each.",
    "The film is too long, but the music is lovely and the last scene stays in the memory.",
    "To reset your password, open the settings, choose your account, and follow the link we send.",
    "During the night the wind turned to the north and the first snow fell on the fields.",
    "Most people who learn a language as adults keep some of the accent of their first one.",
)
