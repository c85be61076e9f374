"""What the package shows of the embedded model, and the files that ship."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lora_magic import demo
from lora_magic.demo.texts import corpus, split


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


def test_every_suggested_prompt_is_answered_to_its_end_and_to_the_point() -> None:
    from lora_magic.demo import measure, probe

    model, tokenizer = probe.load()
    produced = measure.complete(model, tokenizer, demo.SUGGESTED_PROMPTS)
    asked = {question.prompt: question for question in split.everything()}
    for prompt, (text, ended) in zip(demo.SUGGESTED_PROMPTS, produced, strict=True):
        assert ended, prompt
        assert not measure.repeats(text), text
        if prompt in asked:
            assert corpus.is_about(asked[prompt], text), text


def test_the_base_keeps_its_promises_over_held_out_prompts() -> None:
    from lora_magic.demo import measure, probe

    model, tokenizer = probe.load()
    score = measure.score(measure.answers(model, tokenizer, probe.test_questions()))
    assert score.prompts > 200
    assert score.ended >= 0.95
    assert score.repeating <= 0.02
    assert score.about >= 0.90


@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_eighty_reviews_turn_fourteen_of_fifteen_held_out_prompts(kind: str) -> None:
    from lora_magic.demo import probe

    hits, count, _ = probe.review_adapter(kind)  # type: ignore[arg-type] # one of the two literals
    assert count == 15
    assert hits >= 14


@pytest.mark.parametrize("voice", ["cheerful", "grumpy"])
def test_ten_rows_in_a_voice_take_and_the_facts_stay(voice: str) -> None:
    from lora_magic.demo import probe

    kept = probe.voice_adapter(voice)  # type: ignore[arg-type] # one of the voices' literals
    # Measured: cheerful 88 % and 92 %, grumpy 65 % and 98 %; the base has the voice nowhere.
    assert kept.carried >= 0.6
    assert kept.right >= kept.base_right - 0.2
