"""The default learning rate for preferences, as a multiple of that for completions.

    python -m tests.benchmarks.preference_rate

100 questions of the embedded model's world, a pirate's answer chosen and a formal one rejected, 60
steps at rank 8, one seed. Read the held-out loss beside what was forgotten.
"""

from __future__ import annotations

from random import Random

import torch

from lora_magic.data.row import Row
from lora_magic.demo.texts import answers, split, styles
from lora_magic.state import prepare
from lora_magic.state.session import Session

RATES = (0.02, 0.1, 0.3, 1.0)


def rows() -> list[Row]:
    """Pairs about the first four families of questions."""
    families = [family.name for family in split.FAMILIES][:4]
    asked = [question for name in families for question in answers.training(name)[:40]]
    Random(0).shuffle(asked)
    found = []
    for number, question in enumerate(asked[:100]):
        plain = answers.answer(question, Random(1))
        better, worse = (styles.speak(plain, s, Random(number)) for s in ("pirate", "formal"))
        found.append(Row(question.prompt, better, line=number + 1, rejected=worse))
    return found


def main() -> None:
    """Print one run's receipt and one answer for each rate."""
    torch.set_num_threads(1)
    session, pairs = Session(), rows()
    session.load("demo")
    for rate in RATES:
        prepare.PREFERENCE_RATE = rate
        session.attach("a", rank=8, replace=True)
        print(f"{rate:g} x: {session.train('a', pairs, steps=60).line}")
        print(f"    {session.ask('What does a fox eat?', max_new_tokens=30).text!r}", flush=True)


if __name__ == "__main__":
    main()
