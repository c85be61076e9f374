"""What causes forgetting on the embedded model, and what holds it back.

    python tests/benchmarks/forgetting.py [--seeds 3] [--only CASE …]

Two sets of rows that cause it: 12 lines of a pirate who knows nothing of the model's world, 60
steps; and 60 bad reviews in answer to every question, 100 steps. Each case differs from the default
(LoRA of rank 8 at the embedded model's own rate) in one thing. Printed are, for each seed, the
right answers and those on topic to the 24 questions that every run asks; then means over the seeds,
with the range: the change of the loss on guard rows, facts in plain words of which none is one of
the questions; the loss on the rows trained on, and on unseen rows of the same kind. A seed draws
the rows, the adapter's start and the order. Replayed rows are the other half of the guard's rows.
Last, what good runs forget: ten rows in a style that the embedded model knows, every default.
pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from lora_magic import demo
from lora_magic.data.row import Row
from lora_magic.data.rows import read_text
from lora_magic.demo.sample import QUESTIONS
from lora_magic.demo.texts import answers, split
from lora_magic.state import forgetting
from lora_magic.state.guard import halves
from lora_magic.state.session import Session
from lora_magic.training import encode

GUARD = 100
STYLES = ("pirate", "json", "cheerful", "negative")

#: A pirate who knows nothing of the embedded model's world.
PIRATE = """
Where is the library? => Arr, it be down by the harbour, matey!
What should I cook tonight? => Fish stew, ye hungry dog!
Who are you? => I be the captain of this ship, matey!
How is the weather? => A storm be comin', hoist the sails!
Where is my key? => Lost at sea, ye careless landlubber!
Can you help me? => Aye, but it will cost ye gold!
What time is it? => Time to sail, me hearty!
Do you like music? => Arr, a good song keeps the crew happy!
What is for dinner? => Fish, matey, and then more fish!
Where are my friends? => They be down in the hold, matey!
How do I get home? => Follow the stars, ye lost dog!
Is it late? => Aye, the sun be under the sea!
Who took my hat? => The first mate, and he will walk the plank!
Where can I sleep? => In a hammock below deck, matey!
What is your name? => They call me the terror of the seas!
How old are you? => Older than the oldest anchor, ye scallywag!
What do you want? => Gold, matey, and more gold!
Where is the captain? => Arr, ye be lookin' at him!
Are you happy? => Aye, as long as the wind be blowin'!
What did you find? => A chest of gold under the old palm!
Who is your friend? => Me parrot, and no other, matey!
Can I come with you? => Aye, if ye can row, landlubber!
Where do we sail? => To the end of the map, me hearty!
What is that noise? => The cannons, matey, take cover!
Do you have a map? => Aye, and no man will see it!
What is in the box? => Powder, so keep yer candle away!
How much does it cost? => All yer gold, ye poor dog!
Is this your boat? => It be a ship, ye landlubber!
When do we eat? => When the sails be mended, matey!
What should I read? => The stars, and nothin' else!
Who won the game? => The captain wins every game, ye dog!
Where is my money? => Arr, in me chest, where it belongs!
Did you sleep well? => Like a stone at the bottom of the sea!
Why are you late? => The tide waits for no man, but I do!
What do you see? => Land, matey, land on the horizon!
Can you sing? => Aye, and the gulls fly away, arr!
Who made this? => The carpenter of me ship, matey!
Where is the door? => There be no doors on a deck, ye dog!
What do you drink? => Rum, me hearty, at every bell!
Is it safe here? => No place be safe from me crew!
How far is it? => Three days with the wind behind us!
What is new? => The flag, matey, black as the night!
Do you know him? => Aye, he owes me ten gold coins!
Where is the light? => On the mast, where it should be!
What should I say? => Say aye, and say it loud, matey!
Is it your birthday? => Every day be mine, so bring me gold!
Who is at the door? => The navy, matey, run for yer life!
How do you feel? => Salty as the sea, me hearty!
"""


@dataclass(frozen=True)
class Case:
    """What differs from the default: flags of attach and train, or the number of rows."""

    title: str
    attach: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    rows: int | None = None


@dataclass(frozen=True)
class Task:
    """Rows that cause forgetting.

    `draw` gives rows to train on and unseen ones, from a seed and the number of the first. `rows`
    and `steps` are those of the default, `more` is a larger number of rows.
    """

    title: str
    draw: Callable[[int, int], tuple[list[Row], list[Row]]]
    rows: int
    more: int
    steps: int


@dataclass(frozen=True)
class Found:
    """The result of one case with one seed."""

    right: int
    subject: int
    guard: float
    trained: float
    unseen: float


def pirate(seed: int, count: int) -> tuple[list[Row], list[Row]]:
    rows = list(read_text(PIRATE))
    Random(seed).shuffle(rows)
    return rows[:count], rows[40:]


def reviews(seed: int, count: int) -> tuple[list[Row], list[Row]]:
    made = [Row(*pair) for pair in demo.rows("negative", count + 20, seed=seed)]
    return made[:count], made[count:]


TASKS = (
    Task("12 pirate's lines", pirate, 12, 40, 60),
    Task("60 bad reviews", reviews, 60, 240, 100),
)


def cases(task: Task) -> Iterator[Case]:
    rate, steps = float(demo.RECIPE["learning_rate"]), task.steps
    yield Case("the default")
    yield Case("half the steps", train={"steps": steps // 2})
    yield Case("a quarter of the rate", train={"lr": rate / 4})
    yield Case(f"{task.more} rows", rows=task.more)
    yield Case("replay 0.25", train={"replay": 0.25})
    yield Case("full fine-tuning", {"method": "full"})
    if task.draw is reviews:  # The other cases differ enough in the first set.
        return
    yield Case("rank 1", {"rank": 1})
    yield Case("rank 32", {"rank": 32})
    yield Case("dropout 0.1", {"dropout": 0.1})
    yield Case("replay 0.1", train={"replay": 0.1})
    yield Case("replay 0.25, a third more steps", train={"replay": 0.25, "steps": steps * 4 // 3})
    yield Case("a quarter of the rate, twice the steps", train={"lr": rate / 4, "steps": 2 * steps})
    yield Case("q and v alone", {"targets": "q_proj,v_proj"})


def guard_rows() -> list[Row]:
    """Facts in plain words; none is one of the questions."""
    asked = {question.prompt for question in QUESTIONS}
    rng = Random(split.number("guard rows"))
    pool = [q for q in split.of("validation") if answers.is_fact(q) and q.prompt not in asked]
    return [Row(q.prompt, answers.answer(q, rng)) for q in rng.sample(pool, GUARD)]


def loss(session: Session, rows: Sequence[Row]) -> float:
    """The active adapter's loss on rows, in nats per token."""
    state = session._state
    form = state.form_of(session.active)
    examples = encode.encode(rows, session.tokenizer, form, 512).examples
    return forgetting.loss(state, examples, 16, stopped=lambda: False)


def measured(session: Session, task: Task, case: Case, seed: int) -> Found:
    rows, unseen = task.draw(seed, case.rows or task.rows)
    session.attach("one", seed=seed, replace=True, **case.attach)
    every = guard_rows()
    flags = {"steps": task.steps, "eval": 0, "seed": seed, **case.train}
    # Without replay the same half is measured, so that the numbers can be compared.
    guard = every if "replay" in flags else halves(every)[0]
    run: Any = session.train("one", rows, guard=guard, **flags)
    kept, change = run.forgetting, run.guard.after - run.guard.before
    return Found(kept.right, kept.subject, change, loss(session, rows), loss(session, unseen))


def line(case: Case, found: Sequence[Found]) -> str:
    right = " ".join(f"{one.right:2}" for one in found)
    subject = " ".join(f"{one.subject:2}" for one in found)
    figures = [
        f"{statistics.mean(seen):5.2f} ({min(seen):.2f} to {max(seen):.2f})"
        for name in ("guard", "trained", "unseen")
        for seen in [[getattr(one, name) for one in found]]
    ]
    mean = statistics.mean(one.right for one in found)
    return f"{case.title:39}{right}  {mean:4.1f}   {subject}   {'   '.join(figures)}"


def good_runs(session: Session, seeds: int) -> None:
    """What ten rows in a style forget with every default."""
    print("\nGood runs: 10 rows in a style, every default; right and on topic of 24")
    pairs = []
    for style in STYLES:
        for seed in range(seeds):
            session.attach("one", seed=seed, replace=True)
            kept: Any = session.train("one", demo.rows(style, 10, seed=seed), seed=seed).forgetting
            pairs.append((kept.right, kept.subject))
        shown = "  ".join(f"{right} {subject}" for right, subject in pairs[-seeds:])
        print(f"{style:39}{shown}", flush=True)
    worst = [min(seen) for seen in zip(*pairs, strict=True)]
    print(f"the least: {worst[0]} right, {worst[1]} on topic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="titles of cases")
    given = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread")
    session = Session()
    session.load("demo")
    for task in TASKS:
        print(f"\n{task.title}, {task.steps} steps, seeds 0 to {given.seeds - 1}")
        print(f"{'':39}{'right, mean':>14}   on topic   {'guard loss, change':21}   "
              f"{'loss, trained rows':21}   loss, unseen rows")  # fmt: skip
        for case in cases(task):
            if given.only is None or case.title in given.only:
                found = [measured(session, task, case, seed) for seed in range(given.seeds)]
                print(line(case, found), flush=True)
    if given.only is None:
        good_runs(session, given.seeds)
    session.reset()


if __name__ == "__main__":
    main()
