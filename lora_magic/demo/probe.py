"""How good the embedded base model is: `python -m lora_magic.demo.probe`.

Over held-out prompts that neither training nor the choice of the weights has seen: answers that
end by themselves, that repeat themselves, that are about the right subject and true, that state
the fact that was asked for or admit that it is not known. What adapters do is in `adapters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch

from lora_magic.demo import command, measure
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import split
from lora_magic.demo.texts.family import Question

# How many held-out prompts of each family are asked.
COUNTS = {
    **{family.name: 18 for family in split.FAMILIES},
    "review": 20,
    "story": 25,
    "form": 25,
    "dialogue": 12,
    "unknown": 25,
}


def test_questions() -> tuple[Question, ...]:
    """The held-out questions that the probe asks, a fixed choice from the test split."""
    rng = Random(0)
    chosen: list[Question] = []
    for family, count in COUNTS.items():
        pool = [question for question in split.of("test") if question.family == family]
        chosen += rng.sample(pool, count)
    return tuple(chosen)


def main(argv: list[str] | None = None) -> None:
    """Print every figure, and the answers themselves with --answers."""
    parser = command.parser("probe", __doc__)
    parser.add_argument("--answers", action="store_true", help="print what was answered")
    parser.add_argument("--weights", type=Path, help="a folder that pretraining wrote")
    parser.add_argument("--threads", type=command.positive, default=1)
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    model, tokenizer = measure.load(flags.weights)
    answered = measure.answers(model, tokenizer, test_questions())
    for family in COUNTS:
        _show(family, [answer for answer in answered if answer.question.family == family])
    _show("all", answered)
    if flags.answers:
        for answer in answered:
            mark = "" if judge(answer.question, answer.text).right else " ✗"
            print(f"{answer.question.prompt}\n    {answer.text}{mark}")


def _show(name: str, answered: Sequence[measure.Answered]) -> None:
    score = measure.score(answered)
    asked = any(measure.has_right_answer(answer.question) for answer in answered)
    print(
        f"{name:9} {score.prompts:4} prompts  ended {score.ended:6.1%}  repeating "
        f"{score.repeating:6.1%}  right subject {score.subject:6.1%}  and true {score.true:6.1%}  "
        f"right fact {f'{score.right:6.1%}' if asked else '     –'}"
    )


if __name__ == "__main__":
    command.run(main)
