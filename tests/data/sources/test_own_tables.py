"""Tables as people have them: under another extension, without a header, with lists and quotes in cells."""

import json
from pathlib import Path

import datasets
import pytest

from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS, EXAMPLE_KINDS
from close_transfer.data.sources import load_examples
from close_transfer.data.sources.file import count_lines, read_text_lines
from tests.data.sources.made import load
from tests.data.sources.test_file import table, write
from textgen.text.readers import read_texts

FLICKR8K = 'image,caption\n1.jpg,A girl climbs.\n1.jpg,"A girl, in pink."\n2.jpg,Two dogs.\n'


def read(data):
    return [example.texts for example in load_examples(data, CAPTIONS, "test").examples]


def test_a_csv_under_txt_is_not_text():
    path = write("captions.txt", FLICKR8K)
    with pytest.raises(
        UserError,
        match=r"text: 3 of 4 texts are lines of a table, such as '1\.jpg,A girl climbs\.'\. Give data.text_column=NAME",
    ):
        read(table(path))
    data = table(path, text_column="caption")
    loaded = load_examples(data, CAPTIONS, "test")
    assert [example.texts for example in loaded.examples] == [
        ("A girl climbs.",),
        ("A girl, in pink.",),
        ("Two dogs.",),
    ]
    assert loaded.notes == [
        "data.path=captions.txt is read as .csv, because its first line names the columns image, caption"
    ]
    assert (count_lines(data), read_text_lines(data)[1]) == (3, "A girl, in pink.")
    assert read(table(path, check_text=False))[1] == ("1.jpg,A girl climbs.",)


def test_lists_in_cells_are_several_captions():
    path = write("c.csv", 'image,captions\n0.jpg,"[\'A dog.\', ""The dog\'s run.""]"\n1.jpg,A cat.\n')
    loaded = load_examples(table(path, text_column="captions"), CAPTIONS, "test")
    assert [example.texts for example in loaded.examples] == [("A dog.", "The dog's run."), ("A cat.",)]
    assert "holds lists of texts in 1 cells, which were read as several texts each" in loaded.notes[0]
    assert read(table(path, text_column="captions", check_text=False))[0] == ("""['A dog.', "The dog's run."]""",)


@pytest.mark.parametrize(
    ("column", "kind"), [("url", "addresses"), ("file", "file names"), ("id", "numbers or ids"), ("label", "")]
)
def test_a_wrong_column_is_refused(column, kind):
    rows = [
        {"url": f"https://e.org/{i}", "file": f"{i}.jpg", "id": str(i), "label": "dog", "text": "A dog."}
        for i in range(4)
    ]
    path = write("c.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    datasets.Dataset.from_list(rows).save_to_disk("saved")
    for source in ("file", "huggingface"):
        place = path if source == "file" else "saved"
        settings = [f"path={place}", f"text_column={column}"]
        if not kind:
            assert load(source, "captioning", "test", *settings).examples[0].texts == ("dog",)
            continue
        with pytest.raises(
            UserError, match=f"data.text_column={column}: 4 of 4 texts are {kind}.*data.check_text=false"
        ):
            load(source, "captioning", "test", *settings)
        assert load(source, "captioning", "test", *settings, "check_text=false").examples
        with pytest.raises(UserError, match=f"data.references_column={column}: 4 of 4 texts are {kind}"):
            load(source, "captioning", "test", f"path={place}", f"references_column={column}")


def test_answers_may_be_numbers():
    path = write("q.jsonl", json.dumps({"text": "Two dogs.", "q": "How many?", "a": "2"}) + "\n")
    data = table(path, prompt="{q}", target_column="a", references_column="a")
    assert load_examples(data, EXAMPLE_KINDS["questions"], "test").examples[0].targets == ("2",)


def test_the_address_may_come_first_in_conceptual_captions():
    write("Train_GCC-training.tsv", "https://e.com/1.jpg\ta man rides a horse\nhttps://e.com/2.jpg\ttwo dogs\n")
    loaded = load("conceptual-captions", "captioning", "train")
    assert [example.texts for example in loaded.examples] == [("a man rides a horse",), ("two dogs",)]
    assert "has the address first" in loaded.notes[0]


def test_a_headerless_table_says_what_is_missing():
    path = write("c.tsv", "https://e.com/1.jpg\ta man\nhttps://e.com/2.jpg\ttwo dogs\n")
    with pytest.raises(UserError, match=r"the header holds 'https://e\.com/1\.jpg', which is not the name of a column"):
        read(table(path, text_column="a man"))


def test_a_list_of_objects_is_read():
    rows = [{"text": ["A dog.", "A hound."], "n": 1}, {"text": "A cat."}, {"text": None}]
    path = write("list.json", json.dumps(rows[:2], indent=1))
    assert read(table(path)) == [("A dog.", "A hound."), ("A cat.",)]
    assert count_lines(table(path)) == 2
    assert read_texts(path, "text", "references", check_text=True) == ["A dog.", "A hound.", "A cat."]
    with pytest.raises(UserError, match=r"null\.json, entry 3: field 'text' is null"):
        read(table(write("null.json", json.dumps(rows))))


def test_json_lines_under_json_are_read():
    path = write("c.json", '{"text": "A dog."}\n{"text": "A cat."}\n')
    loaded = load_examples(table(path), CAPTIONS, "test")
    assert [example.texts for example in loaded.examples] == [("A dog.",), ("A cat.",)]
    assert loaded.notes == ["data.path=c.json is read as JSON Lines, because it has an object per line"]
    with pytest.raises(
        UserError, match=r"cannot read \.json; allowed are .*\.json \(a list of objects or an object per line\)"
    ):
        read(table(write("d.json", '{"a": {"text": "A dog."}}')))


def test_numbered_columns_are_one_scene():
    path = write("c.csv", "image,caption_0,caption_1,caption_2\n0.jpg,A dog.,A pup.,\n1.jpg,,A cat.,Cats.\n")
    assert read(table(path, text_column="caption_*")) == [("A dog.", "A pup."), ("A cat.", "Cats.")]
    datasets.Dataset.from_dict({"caption_0": ["A dog."], "caption_1": ["A pup."]}).save_to_disk("saved")
    assert load("huggingface", "captioning", "test", "path=saved", "text_column=caption_*").examples[0].texts == (
        "A dog.",
        "A pup.",
    )
    expected = ["A dog.", "A pup.", "A cat.", "Cats."]
    assert read_texts(path, "caption_*", "references", check_text=True) == expected
    under_txt = write("c.txt", Path(path).read_text())
    assert read_texts(under_txt, "caption_*", "references", check_text=True) == expected
    with pytest.raises(UserError, match=r"field 'captions_\*' is missing; the fields here are 'image', 'caption_0'"):
        read(table(path, text_column="captions_*"))


def test_texts_of_a_synthetic_corpus_are_checked():
    path = write("refs.csv", "url,text\nhttps://e.org/1,\"['A dog.', 'A pup.']\"\nhttps://e.org/2,A cat.\n")
    assert read_texts(path, "text", "references", check_text=True) == ["A dog.", "A pup.", "A cat."]
    with pytest.raises(
        UserError, match=r"2 of 2 texts are addresses.*Give references_column=NAME.* or check_text=false"
    ):
        read_texts(path, "url", "references", check_text=True)
    assert len(read_texts(path, "url", "references", check_text=False)) == 2
