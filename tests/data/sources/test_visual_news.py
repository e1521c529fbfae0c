from collections import Counter
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from tests.data.sources.made import load, picture, write


def entry(number, **values):
    return {
        "id": number,
        "caption": f"Minister number {number} speaks.",
        "topic": "politics",
        "source": "bbc",
        "image_path": f"./bbc/images/0001/{number:03d}.jpg",
        "article_path": f"./bbc/articles/0001/{number:03d}.txt",
    } | values


def write_news(entries, articles=(1, 2, 3), split="train"):
    write(f"{split}_data.json", entries)
    for number in articles:
        write(f"bbc/articles/0001/{number:03d}.txt", f"Line one of {number}.\nLine two.\n")


def test_the_article_is_the_prompt_its_first_line_or_all_of_it():
    write_news([entry(1)])
    (example,) = load("visual-news", "visual-news", "train").examples
    assert (example.id, example.texts, example.references) == (
        "1",
        ("Minister number 1 speaks.",),
        ("Minister number 1 speaks.",),
    )
    assert example.prompt == "Line one of 1."
    (example,) = load("visual-news", "visual-news", "train", "articles=whole").examples
    assert example.prompt == "Line one of 1. Line two."


def test_blank_lines_before_an_article_are_no_article():
    write_news([entry(1)])
    write("bbc/articles/0001/001.txt", "\n  \nThe news.\nMore.\n")
    assert load("visual-news", "visual-news", "train").examples[0].prompt == "The news."


def test_the_entry_names_its_image():
    write_news([entry(2)], split="test")
    picture("bbc/images/0001/002.jpg")
    assert load("visual-news", "visual-news", "test").examples[0].image.open().size == (40, 30)


def test_entries_whose_article_is_missing_are_counted():
    write_news([entry(1), entry(2), entry(9)])
    loaded = load("visual-news", "visual-news", "train")
    assert [e.id for e in loaded.examples] == ["1", "2"]
    assert loaded.skipped == Counter({"entries whose article is missing": 1})


def test_without_any_article_the_folder_is_named():
    write_news([entry(1), entry(2)], articles=())
    with pytest.raises(UserError, match=r"none of the 2 articles is below data\.root=\."):
        load("visual-news", "visual-news", "train")


@pytest.mark.parametrize("field", ["image_path", "article_path"])
@pytest.mark.parametrize("path", ["../secret.txt", "/etc/hostname", "./bbc/../../secret.txt"])
def test_paths_that_leave_the_folder_are_refused(field, path):
    Path("here").mkdir()
    write("secret.txt", "secret")
    write_news([entry(1), entry(2, **{field: path})])
    with pytest.raises(
        UserError, match=rf"entry \[1\]: field '{field}' is .*, which is outside of the dataset's folder"
    ):
        load("visual-news", "visual-news", "train")
    loaded = load("visual-news", "visual-news", "train", "on_bad_rows=skip")
    assert (len(loaded.examples), loaded.num_skipped) == (1, 1)


def test_parts_of_the_dataset_may_be_links_to_other_disks(tmp_path):
    write(str(tmp_path / "articles/0001/001.txt"), "The news.")
    Path("bbc").mkdir()
    Path("bbc/articles").symlink_to(tmp_path / "articles")
    write("train_data.json", [entry(1)])
    assert load("visual-news", "visual-news", "train").examples[0].prompt == "The news."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfeN\x00e\x00w\x00s\x00", r"field 'article' is not UTF-8"),
        (b" \n\n", r"field 'article' is empty"),
        (b"N\0e\0w\0s\0", r"field 'article' holds a NUL character"),
    ],
)
def test_unreadable_articles_are_said_or_counted(content, message):
    write_news([entry(1), entry(2)])
    write("bbc/articles/0001/002.txt", content)
    with pytest.raises(UserError, match=message):
        load("visual-news", "visual-news", "train")
    assert load("visual-news", "visual-news", "train", "on_bad_rows=skip").num_skipped == 1


def test_names_that_no_file_can_have_are_missing_files():
    write_news([entry(1), entry(2, article_path="./" + "x" * 5000), entry(3, image_path="./" + "y" * 5000)])
    loaded = load("visual-news", "visual-news", "train")
    assert loaded.num_skipped == 1
    with pytest.raises(UserError, match="there is no such image"):
        loaded.examples[1].image.digest()


def test_repeated_ids_are_no_silent_choice():
    write_news([entry(1), entry(1)])
    with pytest.raises(UserError, match=r"entry \[1\]: field 'id' is '1', which another entry has too"):
        load("visual-news", "visual-news", "train")
