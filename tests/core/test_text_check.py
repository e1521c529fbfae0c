import logging
import time

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.readers.csv_rows import read_cells
from close_transfer.core.readers.text_check import (
    _NUM_CHECKED,
    check_sentences,
    classify,
    require_sentences,
    split_list,
)
from close_transfer.core.readers.texts import read_corpus


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("addresses", ["https://example.com/a/1.jpg", "http://example.org/b?x=1", "www.example.com/a", "s3://bucket/a"]),
        ("file names", ["a.png", "my photo 1.JPG", "train2014/COCO_1.jpg", "/data/images/7", "1000.jpg#0", "a/b.gz"]),
        ("lines of a table", ["1000.jpg,A toddler", "1000.jpg#0 A child", "https://e.com/a.jpg a man", "12,A dog"]),
        ("numbers or ids", ["3", "12.5", "2026-11-28", "4705552913.txt#2r1n", "10:30", "a1b2c3d4"]),
        ("values in brackets", ["['a' b]", "{'caption': 'a'}", "[1, 2]", "<image>", "(None)"]),
        ("texts in quotes", ['"A dog"', "“A dog runs.”"]),
        (
            "",
            [
                "A dog runs.", "dog", "2 dogs run", "Two dogs, one ball", "12 monkeys in 1995", "A cat (black)", "yes",
                "一只狗在3号草地上奔跑", "2匹の犬が走る", "Ein Hund läuft über 3 Wiesen", "собака бежит", "כלב רץ",
                '"Stop" says the sign, and "go" the other', "<PERSON> stands by a red car", "mother-in-law", "U.S.",
                "A photo named cat.jpg is on the screen", "Visit www.example.com now",
            ],
        ),
    ],
)  # fmt: skip
def test_kinds_of_values(kind, values):
    assert {value: classify(value) for value in values} == dict.fromkeys(values, kind)


def test_more_than_half_of_the_texts_decide():
    texts = ["A dog.", "a.jpg", "A cat.", "b.jpg"]
    check_sentences(texts, "data.text_column=x", "data.text_column", "data.check_text=false")
    with pytest.raises(UserError) as caught:
        check_sentences([*texts, "c.jpg"], "data.text_column=x", "data.text_column", "data.check_text=false")
    assert str(caught.value) == (
        "data.text_column=x: 3 of 5 texts are file names, such as 'a.jpg'. Give data.text_column=NAME, the column of the "
        "sentences, or data.check_text=false if these texts are meant"
    )


def test_a_bounded_number_of_values_is_looked_at():
    read = []

    def iterate():
        for number in range(3 * _NUM_CHECKED):
            read.append(number)
            yield "A dog."

    texts = require_sentences(iterate(), "x", "y", "z")
    next(texts)
    assert len(read) == _NUM_CHECKED
    assert 1 + sum(1 for _ in texts) == 3 * _NUM_CHECKED


@pytest.mark.parametrize("unit", ["[", "a/", "1 ", '"', "a.", "1,", ".jpg", "a b", "www.", "'a',", "\\'"])
def test_hostile_values_take_no_time(unit):
    begun = time.perf_counter()
    classify(unit * 100_000)
    split_list("[" + unit * 20_000)
    split_list("['" + unit * 20_000 + "']")
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ("""['A dog.', "The dog's run."]""", ["A dog.", "The dog's run."]),
        ('["A dog.", "\\u00c4pfel"]', ["A dog.", "Äpfel"]),
        ("['A dog.' 'A cat.']", ["A dog.", "A cat."]),  # as NumPy writes an array
        (r"['It\'s here.']", ["It's here."]),
    ],
)
def test_a_list_in_a_cell_is_several_texts(cell, texts):
    assert split_list(cell) == texts


@pytest.mark.parametrize(
    "cell", ["[]", "[1, 2]", "[a, b]", "['a'", "[laughs] A man.", "__import__('os')", "['a', 1]", 3]
)
def test_other_cells_are_unchanged(cell):
    assert split_list(cell) == cell


def test_quotes_of_a_tsv_that_a_writer_of_csv_wrote():
    def read(*lines):
        return [row["t"] for _, row in read_cells("x.tsv", enumerate(lines, 1), True, None)]

    # As pandas writes it: only cells that hold quotes are quoted.
    assert read("i\tt", '1\t"A sign says ""stop"" here."', "2\tTwo dogs.") == ['A sign says "stop" here.', "Two dogs."]
    # Every cell is quoted, the names too.
    assert read('"i"\t"t"', '"1"\t"Two dogs."', '"2"\t""') == ["Two dogs.", ""]
    # Of other files, quotes belong to the text.
    assert read("i\tt", '1\t"Stop"', '2\t"Stop" and "go"', '3\t""a"') == ['"Stop"', '"Stop" and "go"', '""a"']


def test_a_header_is_not_an_address(tmp_path):
    lines = enumerate(["https://example.com/1.jpg\ta man"], 1)
    with pytest.raises(UserError, match=r"line 1: the header holds 'https:.*Add a first line with the names"):
        list(read_cells(tmp_path, lines, True, None))


def test_texts_of_a_language_model_are_checked(tmp_path, caplog):
    path = tmp_path / "captions.txt"
    path.write_text("image,caption\n1.jpg,A dog.\n2.jpg,A cat.\n")
    with pytest.raises(UserError, match=r"2 of 3 texts are lines of a table.*text_column=NAME.*check_text=false"):
        read_corpus([path], "text", None, "text", "error")
    assert read_corpus([path], "text", None, "text", "error", check_text=False).texts[1] == "1.jpg,A dog."
    with caplog.at_level(logging.INFO, "close_transfer"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("close_transfer"), "propagate", True)
        assert read_corpus([path], "caption", None, "caption", "error").texts == ["A dog.", "A cat."]
    assert "is read as .csv, because its first line names the columns image, caption" in caplog.text
