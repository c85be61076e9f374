"""The library releases that the tests ran on, and a note for errors under other releases.

An untested release may have changed what the code relies on, so an error that such a change may
have caused names the release. Knows version numbers; imports no library. Every room may import it.
tests/test_lock.py compares the table with the pinned requirements.
"""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

#: The oldest and the newest release of each library that the whole suite passed on.
TESTED = {
    "torch": ("2.13.0", "2.13.0"),
    "transformers": ("5.15.1", "5.24.0"),
    "peft": ("0.20.0", "0.21.2"),
    "accelerate": ("1.5.2", "1.15.0"),
    "bitsandbytes": ("0.50.2", "0.50.2"),
}


def untested(*libraries: str) -> str:
    """` (transformers 6.0.0 is untested; tested: 5.15.1 to 5.24.0)`, or "".

    For the end of an error's first sentence, if a library's release may be the cause.
    """
    notes = []
    for library in libraries:
        oldest, newest = TESTED[library]
        found = version(library)
        if not Version(oldest) <= Version(Version(found).public) <= Version(newest):
            notes.append(f"{library} {found} is untested; tested: {oldest} to {newest}")
    return f" ({'; '.join(notes)})" if notes else ""
