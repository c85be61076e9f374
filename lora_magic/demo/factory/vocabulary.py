"""The tokenizer of the embedded model: byte-level BPE, four special tokens, a chat template.

Trained on the corpus. Knows the chat form; does not know the model.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lora_magic.demo.factory.corpus import ASSISTANT, END, USER, documents

PAD = "<|pad|>"
SPECIAL = (PAD, END, USER, ASSISTANT)
PAD_ID, END_ID, USER_ID, ASSISTANT_ID = range(4)
SIZE = 3072
# A system message goes before the next user turn's text: this is how the corpus asks for a voice.
CHAT_TEMPLATE = (
    "{%- set turn = namespace(system='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- set turn.system = message['content'] | trim + ' ' -%}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- '<|user|>' + turn.system + message['content'] | trim -}}"
    "{%- set turn.system = '' -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' + message['content'] | trim + '<|end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train_tokenizer(seed: int, documents_read: int = 40_000) -> Tokenizer:
    """A BPE tokenizer of `SIZE` tokens from the first documents of a shard of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (document.text for document in islice(documents(seed, -1), documents_read))
    # Without special tokens: a merge over "<|" would waste a vocabulary entry.
    tokenizer.train_from_iterator((_bare(text) for text in texts), trainer)
    return tokenizer


def _bare(text: str) -> str:
    for token in SPECIAL:
        text = text.replace(token, "\n")
    return text.strip()


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer for `AutoTokenizer.from_pretrained(folder)`."""
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        padding_side="left",
    ).save_pretrained(str(folder))
