"""The user's own general rows (`--guard`): which of them are measured, and their loss.

With `--replay` one half is trained on and the other measured; a row's half depends only on what it
asks, so a row that is measured was trained on by no run. Knows a session's state, rows and tokens;
knows no format of rows and no run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.base.device import out_of_memory, release_after
from lora_magic.base.restore import generators, restoring
from lora_magic.compare.limits import check_known
from lora_magic.data.row import Row
from lora_magic.errors import CommandError, LoraMagicError
from lora_magic.training.encode import Encoded
from lora_magic.training.forgetting import Guard
from lora_magic.training.run import pad_id

from .forgetting import Stopped, loss, reason
from .session_state import SessionState


@dataclass(frozen=True, eq=False)
class GuardRows:
    """Rows to measure, `size` at a time, and the other half to replay, None without `--replay`."""

    measured: Encoded
    replay: Encoded | None
    size: int

    @property
    def record(self) -> Guard:
        """Their numbers, without a loss."""
        examples = self.measured.examples
        tokens = sum(example.trained for example in examples)
        return Guard(None, None, _rows(self.measured), tokens, _rows(self.replay))


def read(
    state: SessionState,
    rows: Sequence[Row] | None,
    share: object,
    encode: Callable[[Sequence[Row]], Encoded],
    size: int,
) -> GuardRows | None:
    """The guard's rows as tokens; None without `--guard`. `share` is that of `--replay`.

    Raises `CommandError` for `--replay` without rows for both halves, and the errors of `encode`.
    """
    if rows is None:
        if share is not None:
            raise CommandError(
                f"--replay {share} takes its rows from --guard: expected --guard VAR or "
                "--guard PATH beside it."
            )
        return None
    measured, replayed = [list(rows), []] if share is None else halves(rows)
    if share is not None and not (measured and replayed):
        raise CommandError(
            f"--replay {share}: of {len(rows)} row{'s' * (len(rows) != 1)} in --guard one half is "
            "trained on and the other measured, and one of them is empty; give at least 10."
        )
    try:
        parts = [encode(part) for part in (measured, replayed) if part]
        for part in parts:
            check_known([example.tokens for example in part.examples], state.base.model)
    except LoraMagicError as error:
        raise type(error)(f"--guard: {error}".replace("to train on", "to measure")) from None
    return GuardRows(parts[0], parts[1] if share is not None else None, size)


def _rows(encoded: Encoded | None) -> int:
    return len({example.row for example in encoded.examples}) if encoded else 0


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows to measure and those to replay, by a hash of what each asks."""
    both: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        # The position has 48 bits. Its last one says nothing about the held-out split.
        both[int(row.position * 2**48) % 2].append(row)
    return both


def measure(
    state: SessionState, attached: LiveAdapter, rows: GuardRows, stopped: Stopped
) -> float | str:
    """The mean loss on the measured rows with the adapter as it is now, or why there is none."""
    base, part = state.base, rows.measured
    pad = pad_id(base.tokenizer, base.model if part.classes else None)

    def losses(size: int) -> float:
        """In passes of this size, or half of it each time that memory runs out."""
        while True:
            try:
                return loss(
                    state,
                    part.examples,
                    size,
                    pad_id=pad,
                    classes=part.classes,
                    stopped=stopped,
                )
            except Exception as error:
                if size == 1 or not out_of_memory(error):
                    raise
                release_after(error)
            size = (size + 1) // 2

    try:
        with state.slots.using(attached.replacements), restoring(generators()):
            found = losses(rows.size)
    except Exception as error:  # noqa: BLE001 - told: the run goes on
        return reason(error, f"{attached.name}: the loss on the rows of --guard")
    return found if math.isfinite(found) else f"the loss is not finite: {found:g}"
