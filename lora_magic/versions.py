"""The library releases that the tests ran on, and a remark for errors under any other release.

An untested release may have changed what the code relies on, so an error whose cause may be such a
change names the release. Knows version numbers and imports no library. Open to every room.
tests/test_lock.py compares the table with the files of pins.
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

    For the end of an error's first sentence, if the cause may be a library's release.
    """
    remarks = []
    for library in libraries:
        oldest, newest = TESTED[library]
        found = version(library)
        if not Version(oldest) <= Version(Version(found).public) <= Version(newest):
            remarks.append(f"{library} {found} is untested; tested: {oldest} to {newest}")
    return f" ({'; '.join(remarks)})" if remarks else ""
