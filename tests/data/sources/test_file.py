import csv
import gzip
import json

import pytest
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.data import FileData
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.sources import load_examples
from close_transfer.pipelines.train import train
from tests.conftest import SMALL_LOOP, SMALL_MODEL


def table(path, **values):
    defaults = {
        "name": "file", "path": str(path), "val_path": None, "val_share": 0.2, "text_column": "text",
        "group_column": None, "image_column": None, "id_column": None,
        "references_column": None, "prompt": None, "target_column": None,
        "on_bad_rows": "error", "on_missing_image": "error", "check_text": True, "noise": {}, "epochs": {},
    }  # fmt: skip
    return FileData(**defaults | values)


def write(name, content):
    data = content.encode() if isinstance(content, str) else content
    if name.endswith(".gz"):
        data = gzip.compress(data)
    with open(name, "wb") as file:
        file.write(data)
    return name


WRITTEN = ["A dog.", "Zwei Katzen, im Schnee.", "犬がいる", "A dog."]
CONTENT = {
    ".txt": "\n".join(WRITTEN) + "\n",
    ".jsonl": "".join(json.dumps({"text": t, "n": i}) + "\n" for i, t in enumerate(WRITTEN)),
    ".csv": "n,text\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(WRITTEN)),
}


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize("suffix", CONTENT)
def test_formats_give_the_same_captions_in_any_language(suffix, zipped):
    loaded = load_examples(table(write(f"c{suffix}{zipped}", CONTENT[suffix])), CAPTIONS, "test")
    assert [e.texts for e in loaded.examples] == [(c,) for c in WRITTEN]
    assert [e.image.row for e in loaded.examples] == [0, 1, 2, 3]


def test_groups_make_scenes_and_repeated_captions_count_once():
    rows = [("s1", "a dog"), ("s2", "a cat"), ("s1", "a hound"), ("s1", "a dog")]
    path = write("g.jsonl", "".join(json.dumps({"text": t, "scene": s}) + "\n" for s, t in rows))
    loaded = load_examples(table(path, group_column="scene"), CAPTIONS, "test")
    assert {e.id: e.texts for e in loaded.examples} == {"s1": ("a dog", "a hound"), "s2": ("a cat",)}
    assert loaded.notes == ["1 captions repeated within their scene are used once"]


FLAT = "image,caption\n1.png,a dog\n2.png,a cat\n1.png,a hound\n1.png,a dog\n"


def test_rows_of_one_image_are_one_scene():
    data = table(write("flat.csv", FLAT), text_column="caption", image_column="image", on_missing_image="skip")
    for name in ("1.png", "2.png"):
        Image.new("RGB", (2, 2)).save(name)
    loaded = load_examples(data, CAPTIONS, "test", images_needed=True)
    assert [(e.id, e.references, e.image.key) for e in loaded.examples] == [
        ("line 1", ("a dog", "a hound"), "1.png"),
        ("line 2", ("a cat",), "2.png"),
    ]
    assert any(note.startswith("4 rows name 2 images: the rows of an image are one scene") for note in loaded.notes)
    single = table(
        write("one.csv", "image,caption\n1.png,a dog\n2.png,a cat\n"), text_column="caption", image_column="image"
    )
    assert load_examples(single, CAPTIONS, "test").notes == []
    by_caption = data.model_copy(update={"group_column": "caption"})
    assert [e.references for e in load_examples(by_caption, CAPTIONS, "test").examples][-1] == ("a hound",)


def test_an_image_is_held_out_with_all_its_captions():
    path = write("many.csv", "image,caption\n" + "".join(f"{i % 20}.png,caption {i}\n" for i in range(100)))
    data = table(path, text_column="caption", image_column="image")
    parts = [load_examples(data, CAPTIONS, split) for split in ("train", "val")]
    assert [len(part.examples) for part in parts] == [16, 4]
    assert {len(e.references) for part in parts for e in part.examples} == {5}
    train_images, val_images = ({e.image.key for e in part.examples} for part in parts)
    assert not train_images & val_images
    assert all("100 rows name 20 images" in part.notes[0] for part in parts)
    separate = data.model_copy(update={"val_path": path})
    assert len(load_examples(separate, CAPTIONS, "val").examples) == 20


def test_references_of_a_scene_are_kept_as_given_and_once():
    rows = [("a", ["x", "x", "y"]), ("b", ["x", "x", "y"])]
    path = write("r.jsonl", "".join(json.dumps({"text": t, "scene": 1, "told": r}) + "\n" for t, r in rows))
    loaded = load_examples(table(path, group_column="scene", references_column="told"), CAPTIONS, "test")
    assert loaded.examples[0].references == ("x", "x", "y")


def test_a_list_of_captions_in_one_row_is_a_scene():
    path = write("l.jsonl", json.dumps({"text": ["a dog", "a hound"]}) + "\n")
    assert load_examples(table(path), CAPTIONS, "test").examples[0].texts == ("a dog", "a hound")


def test_train_and_val_share_the_file_and_nothing_else():
    path = write("t.txt", "".join(f"caption number {i}\n" for i in range(50)))
    parts = {split: {e.id for e in load_examples(table(path), CAPTIONS, split).examples} for split in ("train", "val")}
    assert len(parts["val"]) == 10
    assert len(parts["train"]) == 40
    assert not parts["train"] & parts["val"]


BAD = {
    "number.jsonl": (
        '{"text": "fine"}\n{"text": 5}\n',
        r"number\.jsonl, line 2: field 'text' is a number \(5\), not text",
    ),
    "broken.jsonl": ('{"text": "fine"}\n{"text": "x\n', r"broken\.jsonl, line 2: not valid JSON"),
    "missing.jsonl": ('{"caption": "fine"}\n', r"line 1: field 'text' is missing; the fields here are 'caption'"),
    "list.jsonl": ("[1, 2]\n", r"line 1: a list, not an object with the field 'text'"),
    "blank.txt": ("fine\n   \n", r"blank\.txt, line 2: field 'text' is empty"),
    "missing.csv": ("a,b\n1,2\n", r"missing\.csv, line 2: field 'text' is missing; the fields here are 'a', 'b'"),
    "latin.txt": ("fine\ncaf\xe9\n".encode("latin-1"), r"latin\.txt, line 2: field 'text' is not UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_rows_name_file_line_and_field(name):
    content, message = BAD[name]
    path = write(name, content)
    with pytest.raises(UserError, match=message) as caught:
        load_examples(table(path), CAPTIONS, "test")
    assert "data.on_bad_rows=skip" in str(caught.value)


@pytest.mark.parametrize("name", ["number.jsonl", "broken.jsonl", "blank.txt", "latin.txt"])
def test_malformed_rows_can_be_skipped_and_are_counted(name):
    loaded = load_examples(table(write(name, BAD[name][0]), on_bad_rows="skip"), CAPTIONS, "test")
    assert [e.texts for e in loaded.examples] == [("fine",)]
    assert loaded.num_skipped == 1


CELLS = {
    "extra": ("text,n\nfine,1\nA dog, a cat,2\n", r"line 3: 3 fields where there should be 2 \(text, n\)"),
    "short": ("text,n\nfine,1\nA do", r"line 3: 1 fields where there should be 2"),
    "blank": ("text,n\n\nfine,1\n", r"line 2: the line is empty"),
    "quote": ('text,n\nfine,1\n"A "dog" runs",2\n', r"line 3: not valid CSV"),
}


@pytest.mark.parametrize("name", CELLS)
def test_no_cell_of_a_csv_is_lost_without_a_word(name):
    content, message = CELLS[name]
    path = write("c.csv", content)
    with pytest.raises(UserError, match=message):
        load_examples(table(path), CAPTIONS, "test")
    loaded = load_examples(table(path, on_bad_rows="skip"), CAPTIONS, "test")
    assert ([e.texts for e in loaded.examples], loaded.num_skipped) == ([("fine",)], 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('text,n\nfine,1\n"A dog,2\nA cat,3\n', r"c\.csv, line 3: .*a quote that opens in this line is not closed"),
        ("text,text\nfine,1\n", r"c\.csv, line 1: the header names 'text' twice"),
    ],
)
def test_a_csv_whose_rows_are_ambiguous_is_refused_even_when_skipping(content, message):
    with pytest.raises(UserError, match=message):
        load_examples(table(write("c.csv", content), on_bad_rows="skip"), CAPTIONS, "test")


def test_a_repeated_key_is_refused():
    path = write("k.jsonl", '{"text": "fine"}\n{"text": "one", "text": "two"}\n')
    with pytest.raises(UserError, match=r"line 2: the key 'text' is in one object twice"):
        load_examples(table(path), CAPTIONS, "test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wide.txt", "a dog\na cat\n".encode("utf-16"), "is UTF-16. Save it as UTF-8"),
        (
            "packed.txt",
            gzip.compress(b"a dog\n", mtime=0),
            r"is compressed by gzip. Give it a name that ends with \.gz",
        ),
        ("sheet.csv", b"PK\x03\x04\x14\0", "is a zip archive or a spreadsheet"),
    ],
)
def test_what_is_often_taken_for_text_is_named(name, content, message):
    with pytest.raises(UserError, match=message):
        load_examples(table(write(name, content), on_bad_rows="skip"), CAPTIONS, "test")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_files_without_captions_are_refused(content):
    with pytest.raises(UserError, match=r"there is nothing to use in it|field 'text' is empty"):
        load_examples(table(write("e.txt", content)), CAPTIONS, "test")


def test_damaged_and_unknown_files():
    whole = gzip.compress("".join(f"caption {i}\n" for i in range(999)).encode())
    with open("torn.txt.gz", "wb") as file:
        file.write(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"torn\.txt\.gz, line \d+: the file is damaged or truncated"):
        load_examples(table("torn.txt.gz"), CAPTIONS, "test")
    with pytest.raises(UserError, match="there is no such file"):
        load_examples(table("nowhere.txt"), CAPTIONS, "test")
    with pytest.raises(UserError, match=r"cannot read \.xlsx; allowed are \.txt, \.jsonl, \.csv"):
        load_examples(table(write("a.xlsx", "x")), CAPTIONS, "test")


def test_line_breaks_within_a_caption_become_spaces():
    with open("q.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["text"], ["a dog\nand\u2028a cat"]])
    assert load_examples(table("q.csv"), CAPTIONS, "test").examples[0].texts == ("a dog and a cat",)


def run_on(path, *overrides):
    settings = [*SMALL_LOOP, *SMALL_MODEL, "data=file", f"data.path={path}", "device=cpu", *overrides]
    return train(compose_config("train", TrainConfig, settings), "text")


def test_own_text_trains_with_cut_texts_counted(capsys):
    captions = [f"A dog number {i} in the snow." for i in range(30)] + [
        "word " * 500,
        "Ein Hund läuft über die Straße.",
    ]
    folder, outcome = run_on(write("own.txt", "\n".join(captions) + "\n"))
    said = capsys.readouterr().out
    assert outcome.state.step == 6
    assert "1 of " in said
    assert "longer than the encoder's context and were cut" in said
    assert "the same text under noise" in said
    assert (folder / "best" / "model.safetensors").is_file()


def test_captioning_multi_needs_groups_and_counts_lonely_captions(capsys):
    with pytest.raises(UserError, match=r"none of the .* scenes has a second caption.*data\.group_column"):
        run_on(write("lonely.txt", "".join(f"caption {i}\n" for i in range(9))), "task=captioning-multi")
    rows = [{"text": f"caption {i}", "scene": i // 2} for i in range(20)] + [{"text": "alone", "scene": 99}]
    path = write("mixed.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    run_on(path, "task=captioning-multi", "data.group_column=scene", "data.val_share=0.1")
    assert "1 scenes have one caption only" in capsys.readouterr().out


def test_tasks_that_need_more_than_captions_are_refused():
    with pytest.raises(
        UserError, match=r"task=vqa-e: data=file serves only captioning, captioning-multi, snli-ve, vqa, custom"
    ):
        run_on(write("c.txt", "a\nb\n"), "task=vqa-e")
