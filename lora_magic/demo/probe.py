"""How good the embedded base model is: `python -m lora_magic.demo.probe`.

Over held-out prompts that neither training nor the choice of the weights has seen: answers that
end by themselves, that repeat themselves, that are about what was asked. Then what adapters do:
two opposite ones on reviews, and one for each voice. Training here is a plain loop over PEFT, so
that the figures do not depend on the rest of the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody reads
from tokenizers import Tokenizer

from lora_magic import demo
from lora_magic.demo import measure
from lora_magic.demo.texts import corpus, opinions, split, styles
from lora_magic.demo.texts.family import Question

# How many held-out prompts of each family are asked.
COUNTS = {
    **{family.name: 18 for family in split.FAMILIES},
    "review": 20,
    "story": 25,
    "form": 25,
}
Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Retained:
    """What a voice did: the share of answers that carry it, and those that are still right."""

    voice: str
    carried: float
    right: float
    base_right: float


def test_questions() -> tuple[Question, ...]:
    """The held-out questions that the probe asks, a fixed choice from the test split."""
    rng = Random(0)
    chosen: list[Question] = []
    for family, count in COUNTS.items():
        pool = [question for question in split.of("test") if question.family == family]
        chosen += rng.sample(pool, count)
    return tuple(chosen)


def review_questions(count: int = 15) -> tuple[Question, ...]:
    """Held-out "Write a review of …" prompts, one a subject."""
    rng = Random(1)
    by_subject: dict[str, list[Question]] = {}
    for question in split.of("test"):
        if question.family == "review":
            by_subject.setdefault(question.subject, []).append(question)
    return tuple(rng.choice(by_subject[s]) for s in rng.sample(sorted(by_subject), count))


def encoded(tokenizer: Tokenizer, rows: Rows) -> list[tuple[list[int], list[int]]]:
    """Rows as (tokens, labels): the prompt is not learned, the end token is."""
    pairs = []
    for prompt, completion in rows:
        asked = tokenizer.encode(corpus.chat(prompt)).ids
        told = tokenizer.encode(completion + corpus.END).ids
        pairs.append((asked + told, [-100] * len(asked) + told))
    return pairs


def train_adapter(model: Any, tokenizer: Tokenizer, rows: Rows, seed: int = 0) -> Any:
    """A LoRA adapter in PEFT by the embedded recipe; changes `model` in place.

    AdamW, 5 % warm-up, then linear to 0; the order of rows is drawn by `seed`.
    """
    from peft import LoraConfig, get_peft_model

    recipe = demo.RECIPE
    torch.manual_seed(seed)
    config = LoraConfig(
        r=int(recipe["rank"]),
        lora_alpha=int(recipe["alpha"]),
        target_modules=str(recipe["targets"]).split(","),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    rate, steps = float(recipe["learning_rate"]), int(recipe["steps"])
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    pairs, rng, order = encoded(tokenizer, rows), Random(seed), list[int]()
    warmup = max(1, steps // 20)
    for step in range(steps):
        while len(order) < int(recipe["batch_size"]):
            order += rng.sample(range(len(pairs)), len(pairs))
        taken = [pairs[order.pop(0)] for _ in range(int(recipe["batch_size"]))]
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warmup) * (1 - step / steps)
        torch.autograd.backward(_loss(adapted, taken))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return adapted.eval()


def _loss(model: Any, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    width = max(len(tokens) for tokens, _ in pairs)
    tokens = torch.tensor([t + [measure.PAD_ID] * (width - len(t)) for t, _ in pairs])
    labels = torch.tensor([y + [-100] * (width - len(y)) for _, y in pairs])
    mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t, _ in pairs])
    logits = model(input_ids=tokens, attention_mask=mask).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def review_adapter(
    kind: Literal["positive", "negative"], rows: int = 80
) -> tuple[int, int, tuple[measure.Answered, ...]]:
    """Train on `rows` reviews; how many held-out prompts got that sentiment, of how many."""
    model, tokenizer = load()
    adapted = train_adapter(model, tokenizer, demo.reviews(kind, rows))
    answered = measure.answers(adapted, tokenizer, review_questions())
    hits = sum(opinions.sentiment_of(answer.text) == kind for answer in answered)
    return hits, len(answered), answered


def voice_adapter(
    voice: Literal["cheerful", "grumpy", "pirate", "formal"], rows: int = 10
) -> Retained:
    """Train on `rows` answers in a voice; the share that took it on and that stayed right."""
    questions = [question for question in test_questions() if corpus.is_fact(question)][::3]
    model, tokenizer = load()
    before = measure.answers(model, tokenizer, questions)
    adapted = train_adapter(model, tokenizer, demo.voiced(voice, rows))
    after = measure.answers(adapted, tokenizer, questions)
    count = len(questions)
    return Retained(
        voice,
        sum(styles.has_voice(answer.text, voice) for answer in after) / count,
        measure.score(after).right,
        measure.score(before).right,
    )


def load() -> tuple[Any, Tokenizer]:
    """The embedded model in float32, and its tokenizer."""
    from transformers import AutoModelForCausalLM

    path = demo.folder()
    model = AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32).eval()
    return model, Tokenizer.from_file(str(path / "tokenizer.json"))


def main(argv: list[str] | None = None) -> None:
    """Print every figure, and the answers themselves with --answers."""
    parser = argparse.ArgumentParser(prog="python -m lora_magic.demo.probe", description=__doc__)
    parser.add_argument("--answers", action="store_true", help="print what was answered")
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    model, tokenizer = load()
    answered = measure.answers(model, tokenizer, test_questions())
    for family in COUNTS:
        _show(family, [answer for answer in answered if answer.question.family == family])
    _show("all", answered)
    if flags.answers:
        for answer in answered:
            print(f"{answer.question.prompt}\n    {answer.text}")
    for kind in ("positive", "negative"):
        hits, count, reviewed = review_adapter(kind)
        print(f"{kind} reviews, 80 rows: {hits} of {count} held-out prompts")
        if flags.answers:
            for answer in reviewed:
                print(f"{answer.question.prompt}\n    {answer.text}")
    for voice in styles.VOICES:
        kept = voice_adapter(voice)  # type: ignore[arg-type] # VOICES holds these literals
        print(
            f"{voice}, 10 rows: {kept.carried:.0%} carry the voice, right facts {kept.right:.0%} "
            f"(base {kept.base_right:.0%})"
        )


def _show(name: str, answered: Sequence[measure.Answered]) -> None:
    score = measure.score(answered)
    facts = f"{score.right:6.1%}" if any(corpus.is_fact(a.question) for a in answered) else "     –"
    print(
        f"{name:9} {score.prompts:4} prompts  ended {score.ended:6.1%}  repeating "
        f"{score.repeating:6.1%}  right subject {score.about:6.1%}  right fact {facts}"
    )


if __name__ == "__main__":
    main()
