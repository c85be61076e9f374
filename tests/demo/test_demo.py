"""What the package shows of the embedded model, and the files that ship."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lora_magic import demo
from lora_magic.demo.factory import adapters, corpus, measure, probe
from lora_magic.demo.factory.plan import Plan
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import split, tasks


def test_asking_for_rows_and_the_folder_loads_nothing_heavy() -> None:
    code = (
        "import sys; from lora_magic import demo; demo.folder(); demo.rows('positive', 5);"
        "demo.rows('grumpy', 5);"
        "heavy = {'torch', 'transformers', 'peft', 'numpy', 'tokenizers'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_shipped_files_are_whole_and_at_most_twelve_megabytes() -> None:
    folder = demo.folder()
    files = [path for path in folder.iterdir() if path.is_file()]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) <= 12_000_000


def test_the_generator_still_gives_the_texts_that_the_weights_were_made_of() -> None:
    record = json.loads((demo.folder() / "record.json").read_text())
    assert corpus.fingerprint(record["plan"]["seed"]) == record["corpus"]


def test_the_shipped_tokenizer_gives_the_training_form() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(demo.folder()))
    messages = [{"role": "user", "content": "What does a fox eat?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == corpus.chat("What does a fox eat?")
    assert tokenizer.eos_token == corpus.END


def test_the_record_says_how_the_weights_came_about() -> None:
    record = json.loads((demo.folder() / "record.json").read_text())
    plan = Plan(**record["plan"])
    assert plan == Plan()
    assert record["steps"] == plan.steps
    assert record["chosen"] in record["curve"]
    # The best of all that were measured, and the latest of those.
    best = max(point["right"] for point in record["curve"])
    assert record["chosen"]["right"] == best
    assert record["chosen"]["step"] == max(p["step"] for p in record["curve"] if p["right"] == best)
    assert (demo.folder() / "record.svg").is_file()


def test_every_suggested_prompt_is_answered_to_its_end_and_to_the_point() -> None:
    model, tokenizer = measure.load()
    produced = measure.complete(model, tokenizer, demo.SUGGESTED_PROMPTS)
    asked = {question.prompt: question for question in split.everything()}
    known = 0
    for prompt, (text, ended) in zip(demo.SUGGESTED_PROMPTS, produced, strict=True):
        assert ended, prompt
        assert not measure.repeats(text), text
        if prompt in asked:
            known += 1
            assert judge(asked[prompt], text).right, text
    assert known >= 10


def test_the_base_keeps_its_promises_over_held_out_prompts() -> None:
    model, tokenizer = measure.load()
    score = measure.score(measure.answers(model, tokenizer, probe.test_questions()))
    assert score.prompts > 300
    assert score.ended >= 0.98
    # Reviews that weigh two sides ("but it is a little heavy"), and the remarks in dialogues.
    assert score.repeating <= 0.05
    assert score.true >= 0.95
    assert score.right >= 0.95


@pytest.mark.parametrize("task", demo.ADAPTERS)
def test_an_adapter_takes_and_the_content_stays(task: str) -> None:
    found, _ = adapters.evaluate(task, seed=0)
    assert found.form >= adapters.MIN_IN_FORM
    assert found.content >= adapters.MIN_TRUE


@pytest.mark.parametrize("voice", ["cheerful", "grumpy"])
def test_ten_rows_in_a_voice_take_and_the_content_stays(voice: str) -> None:
    model, tokenizer = measure.load()
    asked = tasks.held_out(voice, 30)
    assert not any(
        tasks.is_in_form(a.text, voice) for a in measure.answers(model, tokenizer, asked)
    )
    adapted = adapters.train(model, tokenizer, demo.rows(voice, 10))
    answered = measure.answers(adapted, tokenizer, asked)
    assert sum(tasks.is_in_form(a.text, voice) for a in answered) >= 20
    assert sum(judge(a.question, a.text).right for a in answered) >= 24
