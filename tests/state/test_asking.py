"""Which column of which data is answered, and what of it is refused; the texts that are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from lora_magic.errors import CommandError, DataError, PromptError
from lora_magic.state.asking import texts_of
from lora_magic.state.session import Session

ROWS = [{"id": 1, "body": "Hi"}, {"id": 2, "body": None}, {"id": 3, "body": "Where?"}]
TEXTS = ["Hi", "", "Where?"]


def test_frames_lists_and_columns_give_one_text_a_row() -> None:
    frame = pandas.DataFrame(ROWS)
    assert texts_of(ROWS, "body") == TEXTS
    assert texts_of(frame, "body") == TEXTS
    assert texts_of(frame[["body"]], None) == TEXTS
    assert texts_of(frame["body"], None) == TEXTS
    assert texts_of(["Hi", None, "Where?"], None) == TEXTS
    assert texts_of(numpy.array(["Hi", "", "Where?"]), None) == TEXTS
    assert texts_of(frame, "id") == ["1", "2", "3"]


def test_a_polars_frame_is_read_where_polars_is_installed() -> None:
    polars = pytest.importorskip("polars")
    assert texts_of(polars.DataFrame(ROWS), "body") == TEXTS
    assert texts_of(polars.DataFrame(ROWS)["body"], None) == TEXTS


def test_files_give_one_text_a_row(tmp_path: Path) -> None:
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    table = tmp_path / "rows.csv"
    table.write_text("id,body\n1,Hi\n2,\n3,Where?\n", encoding="utf-8")
    plain = tmp_path / "rows.txt"
    plain.write_bytes(b"Hi\r\n\r\nWhere?\r\n")
    assert texts_of(lines, "body") == texts_of(str(table), "body") == TEXTS
    assert texts_of(plain, None) == TEXTS


def test_without_a_name_it_is_prompt_or_the_only_column_of_text() -> None:
    assert texts_of([{"body": "no", "prompt": "yes"}], None) == ["yes"]
    assert texts_of([{"id": 1, "body": "yes"}], None) == ["yes"]
    with pytest.raises(DataError, match=r"2 of them have texts .*--column \"a\""):
        texts_of([{"a": "x", "b": "y"}], None)
    with pytest.raises(DataError, match="0 of them have texts"):
        texts_of([{"a": 1, "b": 2}], None)
    with pytest.raises(DataError, match=r"no columns; .* --data VAR"):
        texts_of(pandas.DataFrame(), None)


@pytest.mark.parametrize(
    ("data", "column", "fault"),
    [
        (ROWS, "bodi", r"no such column; .*'id', 'body'.*Did you mean 'body'"),
        (["Hi"], "body", "no columns; omit it"),
        ([], None, "the data is empty"),
        (pandas.DataFrame({"a": []}), "a", "the data is empty"),
        ({"Hi"}, None, r"data of type set.*Pass list\(data\)"),
        (3, None, "data of type int"),
        ([{"a": ["x"]}, {"a": "y"}, {"a": {}}], "a", "row 1: .*got list; row 3: .*got dict"),
        ("nowhere.csv", None, "no file 'nowhere.csv'"),
    ],
)
def test_what_is_no_column_of_texts_is_one_line(data: Any, column: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault) as refused:
        texts_of(data, column)
    assert "\n" not in str(refused.value)


def test_a_stream_is_not_read_to_its_end() -> None:
    datasets = pytest.importorskip("datasets")

    def endless() -> Any:
        raise AssertionError
        yield

    stream = datasets.IterableDataset.from_generator(endless)
    with pytest.raises(DataError, match=r"list\(data\.take\(1000\)\)"):
        texts_of(stream, None)


def test_a_dict_of_columns_is_read_as_a_frame_is() -> None:
    assert texts_of({"a": ["Hi", "Ho"]}, None) == ["Hi", "Ho"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    session = Session()
    session.load("demo")
    yield session
    session.reset()


@pytest.mark.parametrize("method", ["lora", "ia3", "prefix", "prompt", "houlsby"])
def test_an_adapters_answers_to_a_column_are_its_answers_one_by_one(
    demo: Session, method: str
) -> None:
    rows = "What does a fox eat? => Arr, mice!\nWhere is the library? => Arr, by the harbour!"
    demo.attach(method, method=method)
    demo.train(method, text=rows, steps=3, lr=0.05)
    prompts = ["What does a fox eat?", "Hi", "How do I make apple pie today, please?"]
    found = demo.ask(data=prompts, max_new_tokens=10)
    alone = [demo.ask(prompt, max_new_tokens=10) for prompt in prompts]
    assert [row.answer for row in found.rows] == [answer.text for answer in alone]  # type: ignore[union-attr]
    assert found.adapter == method
    demo.detach(method, discard=True)


def test_a_prompt_and_data_together_and_a_column_alone_are_refused(demo: Session) -> None:
    with pytest.raises(CommandError, match="both a prompt and data"):
        demo.ask("Hi", data=["Hi"])
    with pytest.raises(CommandError, match="names a column of --data; omit it"):
        demo.ask("Hi", column="body")
    with pytest.raises(PromptError, match="the prompt is missing"):
        demo.ask()


def test_a_comparison_samples_with_top_p_and_says_so(demo: Session) -> None:
    flags: dict[str, Any] = {"max_new_tokens": 8, "temperature": 1.5, "seed": 3}
    demo.attach("one", rank=2)
    found = demo.compare("Hi", top_p=0.5, **flags)
    assert "temperature 1.5, top-p 0.5, seed 3" in found.line
    alone = demo.ask("Hi", top_p=0.5, **flags)
    assert found.panes[1].text == alone.text  # type: ignore[union-attr]
    with pytest.raises(PromptError, match="--top-p"):
        demo.compare("Hi", top_p=0.5)
    demo.detach("one", discard=True)


def test_a_base_that_is_not_finite_is_named_by_ask_and_by_compare() -> None:
    from tests.tiny import tiny_model, tiny_tokenizer

    model: Any = tiny_model()
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    session = Session()
    session.use(model, tiny_tokenizer())
    session.attach("pirate", rank=2)
    for verb in (session.ask, session.compare):
        with pytest.raises(
            PromptError, match=r"the base's logits .*model\.layers\.0\.mlp\.up_proj"
        ):
            verb("Hi")
    assert session.verify()
    session.reset()
