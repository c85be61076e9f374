"""Well-known models by name, with their published sizes.

Knows numbers only.
"""

from __future__ import annotations

from typing import Any

#: Name → the values of its config.
KNOWN: dict[str, dict[str, Any]] = {}
