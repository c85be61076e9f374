"""`python -m tests.hostile N …` judges the folders N, or A-B, and prints what was found.

`--keep` leaves the folder of one number on disk and prints its path, without opening it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from .generate import generate, prepare
from .runner import run


def main(words: list[str]) -> None:
    keep = "--keep" in words
    ends = [[int(end) for end in word.split("-")] for word in words if word != "--keep"]
    numbers = [number for end in ends for number in range(end[0], end[-1] + 1)]
    work = Path(tempfile.mkdtemp())
    prepare(work)
    if keep:
        for number in numbers:
            print(generate(number, work))
        return
    counted: Counter[str] = Counter()
    for found in run(numbers, work):
        counted[found["outcome"]] += 1
        kinds = f"{found['source']} {' + '.join(found['kinds'])}"
        print(f"{found['number']} {found['outcome']} {kinds}: {found['text']}")
        for fault in found["faults"]:
            print(f"    {fault}")
        sys.stdout.flush()
    print(dict(counted))


if __name__ == "__main__":
    main(sys.argv[1:])
