"""The record of a verb that changed something and has no result of its own."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.printable import one_line


@dataclass(frozen=True)
class Receipt:
    """What was done, in one line, and details."""

    line: str
    facts: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        return receipt.bundle(line=self.line, facts=list(self.facts))
