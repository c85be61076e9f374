"""Chat templates as published models have them: what is trained is what is asked, written once."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Message, Row
from lora_magic.errors import DataError
from lora_magic.training.encode import encode

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set conte"
    "nt = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['c"
    "ontent'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_t"
    "oken + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt"
    " %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') !="
    " (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate "
    "user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user'"
    " %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == '"
    "assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('On"
    "ly user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
MISTRAL_SYSTEM_LAST = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['c"
    "ontent'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messag"
    "es = messages %}{%- endif %}{{- bos_token }}{%- for message in loop_messages %}{"
    "%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined"
    " %}{{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}{%- "
    "else %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}{%- elif mes"
    "sage['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token}}{%- else"
    " %}{{- raise_exception('bad role') }}{%- endif %}{%- endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('Syste"
    "m role not supported') }}{% endif %}{% for message in messages %}{% if (message["
    "'role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation "
    "roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% "
    "set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<s"
    "tart_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% "
    "endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
GEMMA_SYSTEM_FIRST = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- if messages[0]['con"
    "tent'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%"
    "}{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n"
    "' -%}{%- endif -%}{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set fi"
    "rst_user_prefix = '' -%}{%- set loop_messages = messages -%}{%- endif -%}{%- for"
    " message in loop_messages -%}{%- if (message['role'] == 'user') != (loop.index0 "
    "% 2 == 0) -%}{{ raise_exception('alternate') }}{%- endif -%}{%- if (message['rol"
    "e'] == 'assistant') -%}{%- set role = 'model' -%}{%- else -%}{%- set role = mess"
    "age['role'] -%}{%- endif -%}{{ '<start_of_turn>' + role + '\n' + (first_user_pref"
    "ix if loop.first else '') }}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }"
    "}{%- endfor -%}{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- en"
    "dif -%}"
)
QWEN = (
    "{%- if messages[0].role == 'system' %}\n    {{- '<|im_start|>system\n' + messages["
    "0].content + '<|im_end|>\n' }}\n{%- endif %}\n{%- set ns = namespace(multi_step_too"
    "l=true, last_query_index=messages|length - 1) %}\n{%- for message in messages[::-"
    "1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n    {%- if ns.m"
    'ulti_step_tool and message.role == "user" and message.content is string and not('
    "message.content.startswith('<tool_response>') and message.content.endswith('</to"
    "ol_response>')) %}\n        {%- set ns.multi_step_tool = false %}\n        {%- set"
    " ns.last_query_index = index %}\n    {%- endif %}\n{%- endfor %}\n{%- for message i"
    "n messages %}\n    {%- if message.content is string %}\n        {%- set content = "
    "message.content %}\n    {%- else %}\n        {%- set content = '' %}\n    {%- endif"
    ' %}\n    {%- if (message.role == "user") or (message.role == "system" and not loo'
    "p.first) %}\n        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_en"
    "d|>' + '\n' }}\n    {%- elif message.role == \"assistant\" %}\n        {%- set reason"
    "ing_content = '' %}\n        {%- if message.reasoning_content is string %}\n      "
    "      {%- set reasoning_content = message.reasoning_content %}\n        {%- else "
    "%}\n            {%- if '</think>' in content %}\n                {%- set reasoning"
    "_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip("
    "'\n') %}\n                {%- set content = content.split('</think>')[-1].lstrip('"
    "\n') %}\n            {%- endif %}\n        {%- endif %}\n        {%- if loop.index0 "
    "> ns.last_query_index %}\n            {%- if loop.last or (not loop.last and reas"
    "oning_content) %}\n                {{- '<|im_start|>' + message.role + '\n<think>\n"
    "' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}\n      "
    "      {%- else %}\n                {{- '<|im_start|>' + message.role + '\n' + cont"
    "ent }}\n            {%- endif %}\n        {%- else %}\n            {{- '<|im_start|"
    ">' + message.role + '\n' + content }}\n        {%- endif %}\n        {{- '<|im_end|"
    ">\n' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<"
    "|im_start|>assistant\n' }}\n    {%- if enable_thinking is defined and enable_think"
    "ing is false %}\n        {{- '<think>\n\n</think>\n\n' }}\n    {%- endif %}\n{%- endif "
    "%}"
)
THINKING = (
    "{% for m in messages %}{% if m['role']=='user' %}<|User|>{{ m['content'] }}{% el"
    "if m['role']=='system' %}{{ m['content'] }}{% else %}{% set c = m['content'] %}{"
    "% if '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}<|Assista"
    "nt|>{{ c }}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<"
    "|Assistant|><think>\n{% endif %}"
)
PHI = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n'"
    " + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|use"
    "r|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' "
    "%}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{"
    "% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% e"
    "ndif %}"
)
ZEPHYR = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>\n' + "
    "message['content'] + eos_token + '\n' }}{% elif message['role'] == 'system' %}{{ "
    "'<|system|>\n' + message['content'] + eos_token + '\n'}}{% elif message['role'] =="
    " 'assistant' %}{{ '<|assistant|>\n'  + message['content'] + eos_token + '\n' }}{% "
    "endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endi"
    "f %}{% endfor %}"
)


IM = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
HEADER = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
HEADER += "<|start_header_id|>assistant<|end_header_id|>\n\n"
TURN = "<start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n"
BARS = "<|user|>\n{}<|end|>\n<|assistant|>\n"
NO_THOUGHT = "<think>\n\n</think>\n\n"

#: Template, special tokens, and what the conversation cat, sat, fox, mat becomes: the text before
#: each answer, and the answer with its end token.
CASES = {
    "llama3": (
        LLAMA3, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        ["<s>" + HEADER.format("cat"),
         "<s>" + HEADER.format("cat") + "sat<|eot_id|>" + HEADER.format("fox")],
        ["sat<|eot_id|>", "mat<|eot_id|>"],
    ),
    "mistral": (
        MISTRAL, ["[INST]", "[/INST]"],
        ["<s>[INST] cat [/INST]", "<s>[INST] cat [/INST]sat</s>[INST] fox [/INST]"],
        ["sat</s>", "mat</s>"],
    ),
    "mistral, system last": (
        MISTRAL_SYSTEM_LAST, ["[INST]", "[/INST]"],
        ["<s>[INST] cat[/INST]", "<s>[INST] cat[/INST] sat</s>[INST] fox[/INST]"],
        [" sat</s>", " mat</s>"],
    ),
    "gemma": (
        GEMMA, ["<start_of_turn>", "<end_of_turn>"],
        ["<s>" + TURN.format("cat"),
         "<s>" + TURN.format("cat") + "sat<end_of_turn>\n" + TURN.format("fox")],
        ["sat<end_of_turn>", "mat<end_of_turn>"],
    ),
    "qwen": (
        QWEN, ["<|im_start|>", "<|im_end|>"],
        [IM.format("cat"), IM.format("cat") + "sat<|im_end|>\n" + IM.format("fox")],
        [f"{NO_THOUGHT}sat<|im_end|>", f"{NO_THOUGHT}mat<|im_end|>"],
    ),
    "thinking": (
        THINKING, ["<|User|>", "<|Assistant|>"],
        ["<|User|>cat<|Assistant|><think>\n",
         "<|User|>cat<|Assistant|>sat</s><|User|>fox<|Assistant|><think>\n"],
        ["sat</s>", "mat</s>"],
    ),
    "phi": (
        PHI, ["<|user|>", "<|assistant|>", "<|end|>"],
        [BARS.format("cat"), BARS.format("cat") + "sat<|end|>\n" + BARS.format("fox")],
        ["sat<|end|>", "mat<|end|>"],
    ),
    "zephyr": (
        ZEPHYR, ["<|user|>", "<|assistant|>"],
        ["<|user|>\ncat</s>\n<|assistant|>",
         "<|user|>\ncat</s>\n<|assistant|>\nsat</s>\n<|user|>\nfox</s>\n<|assistant|>"],
        ["\nsat</s>", "\nmat</s>"],
    ),
}  # fmt: skip

TEXTS = ["cat sat on the mat what does a fox eat mice user assistant model system"]
TURNS = (Message("user", "cat"), Message("assistant", "sat"), Message("user", "fox"))
CONVERSATION = Row(None, "mat", (*TURNS, Message("assistant", "mat")))


def made(template: str | None, special: list[str], kind: str, start: bool, end: bool) -> Any:
    """A tokenizer of a kind, which adds its own <s> and </s> or not."""
    first = ["<s>", "</s>", "<unk>", *special]
    letters = [chr(code) for code in range(33, 127)]
    if kind == "wordpiece":
        raw = Tokenizer(models.WordPiece(unk_token="<unk>"))
        raw.normalizer = normalizers.BertNormalizer()
        raw.pre_tokenizer, raw.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=600, show_progress=False, special_tokens=first, initial_alphabet=letters
        )
    elif kind == "metaspace":
        raw = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        raw.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        first += [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=900, show_progress=False, special_tokens=first, initial_alphabet=letters
        )
    else:
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=500, show_progress=False, special_tokens=first,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
    raw.train_from_iterator(TEXTS, trainer)
    around = " ".join(["<s>"] * start + ["$A"] + ["</s>"] * end)
    ids = [(token, raw.token_to_id(token)) for token in ("<s>", "</s>")]
    raw.post_processor = TemplateProcessing(single=around, special_tokens=ids)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=special,
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["bytes", "metaspace", "wordpiece"])
@pytest.mark.parametrize(("start", "end"), [(False, False), (True, False), (True, True)])
def test_each_answer_is_trained_after_what_is_asked_and_ends_once(
    name: str, kind: str, start: bool, end: bool
) -> None:
    template, special, befores, answers = CASES[name]
    tokenizer = made(template, special, kind, start, end)
    form = PromptForm.of(tokenizer)
    examples = encode([CONVERSATION], tokenizer, form, 256).examples
    assert len(examples) == 2
    turns = [turn.plain() for turn in CONVERSATION.messages or ()]
    for example, before, answer, asked in zip(examples, befores, answers, (1, 3), strict=True):
        at = sum(label < 0 for label in example.labels)
        assert list(example.tokens[:at]) == ids_of(tokenizer, before)
        assert form.encode_turns(tokenizer, turns[:asked]) == ids_of(tokenizer, before)
        # The template's text as one, with the end token once.
        assert list(example.tokens) == ids_of(tokenizer, before + answer)
        assert sum(token in form.stop_ids for token in example.tokens[at:]) == 1


def test_a_system_message_that_a_template_moves_changes_nothing_else_in_the_answer() -> None:
    tokenizer = made(MISTRAL_SYSTEM_LAST, ["[INST]", "[/INST]"], "bytes", True, False)
    rows = [Row("cat", "mat", system="sat"), Row("cat", "mat")]
    moved, usual = encode(rows, tokenizer, PromptForm.of(tokenizer), 64).examples
    assert tokenizer.decode(moved.tokens) == "<s>[INST] sat\n\ncat[/INST] mat</s>"
    assert tokenizer.decode(usual.tokens) == "<s>[INST] cat[/INST] mat</s>"


def test_a_system_message_that_a_template_refuses_or_folds_into_the_turn() -> None:
    row = Row("cat", "mat", system="sat", line=5)
    for template, special in ((MISTRAL, ["[INST]"]), (GEMMA, ["<start_of_turn>", "<end_of_turn>"])):
        tokenizer = made(template, special, "bytes", True, False)
        with pytest.raises(DataError, match=r"^row 5: .*chat template (fails|leaves out)"):
            encode([row], tokenizer, PromptForm.of(tokenizer), 64)
    tokenizer = made(GEMMA_SYSTEM_FIRST, special, "bytes", True, False)
    (example,) = encode([row], tokenizer, PromptForm.of(tokenizer), 64).examples
    told = TURN.format("sat\n\ncat")
    assert tokenizer.decode(example.tokens) == f"<s>{told}mat<end_of_turn>"


def test_reasoning_is_trained_in_the_last_answer_and_left_out_of_those_before() -> None:
    tokenizer = made(QWEN, ["<|im_start|>", "<|im_end|>"], "bytes", False, False)
    thought = "<think>\neat\n</think>\n\n"
    turns = [Message(t.role, f"{thought}{t.content}" if t.role == "assistant" else t.content)
             for t in CONVERSATION.messages or ()]  # fmt: skip
    examples = encode(
        [Row(None, "x", tuple(turns))], tokenizer, PromptForm.of(tokenizer), 256
    ).examples
    assert [tokenizer.decode(example.tokens) for example in examples] == [
        IM.format("cat") + f"{thought}sat<|im_end|>",
        IM.format("cat") + "sat<|im_end|>\n" + IM.format("fox") + f"{thought}mat<|im_end|>",
    ]


@pytest.mark.parametrize("kind", ["bytes", "metaspace", "wordpiece"])
@pytest.mark.parametrize(("start", "end"), [(False, False), (True, False), (True, True)])
def test_the_plain_form_has_no_end_token_before_the_answers(
    kind: str, start: bool, end: bool
) -> None:
    tokenizer = made(None, [], kind, start, end)
    form = PromptForm.of(tokenizer)
    for prompt in ("cat", "cat</s>", "cat</s>\n"):
        (example,) = encode([Row(prompt, "mat</s>")], tokenizer, form, 64).examples
        assert list(example.tokens) == [0] * start + ids_of(tokenizer, "cat\nmat</s>")
        asked = form.encode(tokenizer, prompt)
        assert list(example.tokens[: len(asked)]) == asked
    with pytest.raises(DataError, match="row 2: </s> inside the user turn"):
        encode([Row("cat", "mat"), Row("ca</s>t", "mat")], tokenizer, form, 64)
