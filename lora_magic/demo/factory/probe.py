"""How good the embedded model is: `python -m lora_magic.demo.factory.probe`.

Asks 305 test prompts and 300 in people's words, in held-out shapes, which neither training nor the
choice of the weights used, and prints by family the shares that `measure.Score` defines. Knows no
adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch

from lora_magic.demo.factory import command, measure, worded
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import split
from lora_magic.demo.texts.family import Question

# Test prompts of each family.
COUNTS = {
    **{family.name: 18 for family in split.FAMILIES},
    "review": 20,
    "story": 25,
    "form": 25,
    "dialogue": 12,
    "unknown": 25,
}
WORDED = 300


def test_questions() -> tuple[Question, ...]:
    """A fixed sample of the test split."""
    rng = Random(0)
    chosen: list[Question] = []
    for family, count in COUNTS.items():
        pool = [question for question in split.of("test") if question.family == family]
        chosen += rng.sample(pool, count)
    return tuple(chosen)


def _sort(question: Question) -> str:
    """A fact, or one of the sorts of questions that `worded` draws beside facts."""
    return question.family if question.family in ("unknown", "relation") else "fact"


def main(argv: list[str] | None = None) -> None:
    """Print the shares by family, and with --answers the answers."""
    parser = command.parser("probe", __doc__)
    parser.add_argument("--answers", action="store_true", help="print the answers too")
    parser.add_argument(
        "--weights", type=Path, help="a folder that pretrain wrote (the embedded model)"
    )
    parser.add_argument(
        "--threads", type=command.positive, default=1, help="torch threads (%(default)s)"
    )
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    model, tokenizer = measure.load(flags.weights)
    answered = measure.answers(model, tokenizer, test_questions())
    for family in COUNTS:
        _show(family, [answer for answer in answered if answer.question.family == family])
    _show("all", answered)
    in_words = measure.answers(model, tokenizer, worded.questions("test", WORDED))
    print("in people's words")
    for sort in ("fact", "relation", "unknown"):
        _show(sort, [answer for answer in in_words if _sort(answer.question) == sort])
    if flags.answers:
        for answer in (*answered, *in_words):
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
