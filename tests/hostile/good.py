"""The valid folders that mutations start from: adapters, bases and data files, made once.

`make(place)` writes adapters/, bases/ and data/. The adapters belong to the embedded model; each
exists with its card and, where plain PEFT can read it, without.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lora_magic.state.session import Session
from tests.classifiers import tiny_of
from tests.tiny import tiny_model, tiny_tokenizer

#: The flags of `attach` for each adapter.
ADAPTERS: dict[str, dict[str, object]] = {
    "lora": {"rank": 2},
    "dora": {"rank": 2, "dora": True},
    "norms": {"rank": 2, "norms": True},
    "pattern": {"rank": 2, "rank_pattern": {"q_proj": 1}},
    "pissa": {"rank": 2, "init": "pissa"},
    "adalora": {"method": "adalora", "rank": 2},
    "ia3": {"method": "ia3"},
    "prefix": {"method": "prefix"},
    "prompt": {"method": "prompt"},
    "houlsby": {"method": "houlsby"},
    "full": {"method": "full"},
}
OWN_FORMAT = ("houlsby", "full", "pissa")
ROWS = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(4)]


def make(place: Path) -> None:
    _adapters(place / "adapters")
    for kind in ("llama", "gpt2"):
        tiny_model(kind).save_pretrained(place / "bases" / kind)
        tiny_tokenizer(chat=True).save_pretrained(place / "bases" / kind)
    tiny_model("llama").save_pretrained(place / "bases" / "sharded", max_shard_size="60KB")
    tiny_tokenizer().save_pretrained(place / "bases" / "sharded")
    tiny_of("classifier", "bert").save_pretrained(place / "bases" / "bert")
    tiny_tokenizer().save_pretrained(place / "bases" / "bert")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    table = "prompt,completion\n" + "".join(f"{r['prompt']},{r['completion']}\n" for r in ROWS)
    for name, text in {
        "rows.jsonl": lines,
        "rows.csv": table,
        "rows.json": json.dumps(ROWS),
    }.items():
        (place / "data" / name).mkdir(parents=True)
        (place / "data" / name / name).write_text(text)


def _adapters(place: Path) -> None:
    session = Session()
    session.load("demo")
    for name, flags in ADAPTERS.items():
        session.attach(name, **flags)  # type: ignore[arg-type]
        if name in ("lora", "dora"):
            session.train(name, ROWS, steps=1)
        session.save(name, place / name)
        session.detach(name)
        if name not in OWN_FORMAT:
            shutil.copytree(place / name, place / f"{name}-without-card")
            (place / f"{name}-without-card" / "lora_magic.json").unlink()
    session.reset()
    # The embedded model has no biases.
    shutil.copytree(Path(__file__).parents[1] / "earlier/0.1.0/adapters/bitfit", place / "bitfit")
