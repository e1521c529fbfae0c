"""Categories and similarities of nouns from WordNet's files."""

import sys

import pytest

from close_transfer.core.errors import UserError
from studies.wordnet import CATEGORIES, WordNet
from tests.studies.small_wordnet import write_small_wordnet

NLTK = "nltk reads WordNet's files; pip install nltk"


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    pytest.importorskip("nltk", reason=NLTK)
    return WordNet(write_small_wordnet(tmp_path_factory.mktemp("data") / "wordnet"))


@pytest.mark.slow  # as all tests here that import nltk, which takes seconds
@pytest.mark.parametrize(
    ("noun", "category"),
    [
        ("woman", "people"),
        ("cat", "animals"),
        ("animal", "animals"),
        ("table", "objects"),  # its first sense is an array of numbers, its second has a category
        ("game", "other"),  # an animal in its third sense only
        ("array", "other"),
        ("quokka", "other"),  # is not in WordNet
    ],
)
def test_a_noun_has_the_category_of_a_frequent_sense(wordnet, noun, category):
    assert wordnet.find_category(noun) == category
    assert category in (*CATEGORIES, "other")


@pytest.mark.slow
def test_similarity_is_twice_the_depth_of_the_common_ancestor_over_the_depths(wordnet):
    # entity has depth 1, organism 3, dog and man 5.
    assert wordnet.measure_similarity("dog", "man") == pytest.approx(2 * 3 / (5 + 5))
    assert wordnet.measure_similarity("dog", "cat") == pytest.approx(2 * 4 / (5 + 5))
    assert wordnet.measure_similarity("table", "dog") == pytest.approx(2 * 2 / (4 + 5))
    assert wordnet.measure_similarity("dog", "dog") == 1.0


@pytest.mark.slow
def test_words_that_wordnet_lacks_are_similar_to_themselves_only(wordnet):
    assert wordnet.measure_similarity("quokka", "quokka") == 1.0
    assert wordnet.measure_similarity("quokka", "dog") == wordnet.measure_similarity("dog", "quokka") == 0.0


def test_a_folder_without_its_files_is_refused_with_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"has no file data\.noun\. Give .*/usr/share/wordnet of Debian's package"):
        WordNet(tmp_path)


@pytest.mark.slow
def test_damaged_files_are_refused(tmp_path):
    pytest.importorskip("nltk", reason=NLTK)
    folder = write_small_wordnet(tmp_path / "wordnet")
    (folder / "index.noun").write_text("dog n nothing\n")
    with pytest.raises(UserError, match=r"wordnet=.*: cannot be read \(.*\)\. Give a folder with"):
        WordNet(folder)


def test_without_nltk_the_install_command_is_named(tmp_path, monkeypatch):
    (tmp_path / "data.noun").write_text("")
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(UserError, match=r"needs nltk, which is not installed\. Install it by pip install nltk"):
        WordNet(tmp_path)
