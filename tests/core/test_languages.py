"""Language codes: ISO 639-1, -2 and -3, tags with a country or script, and common aliases."""

import pytest
import simplemma
import stop_words
from simplemma.strategies.dictionaries.dictionary_factory import SUPPORTED_LANGUAGES

from close_transfer.core.languages import find_written_language, match_language, standardize_language
from textgen.filters.words import Lexicon
from textgen.text.keywords import lemmatize, load_stop_list


@pytest.mark.parametrize(
    ("codes", "standard"),
    [
        ("zh zho chi cn CN zh-CN zh_Hans zh-Hant-TW cn-Hans", "zh"),
        ("ja jpn jp ja-JP", "ja"),
        ("ko kor kr ko_KR", "ko"),
        ("en eng EN en-GB en_US", "en"),
        ("pt por pt-BR pt_PT", "pt"),
        ("de deu ger", "de"),
        ("he iw heb", "he"),
        ("cs cz ces cze", "cs"),
        ("yue", "yue"),
    ],
)
def test_spellings_of_one_language_have_one_code(codes, standard):
    assert {standardize_language(code) for code in codes.split()} == {standard}


@pytest.mark.parametrize(
    "code", ["xx", "qq", "und", "zxx", "", " ", "C", "english", "en/../x", "123", "e" * 500, "éé", "zh-"]
)
def test_codes_of_no_language_are_errors(code):
    with pytest.raises(ValueError, match="is not the code of a language"):
        standardize_language(code)


def test_languages_of_one_writing_are_split_alike():
    assert {find_written_language(code, "language") for code in ("zh", "cmn", "yue", "cn")} == {"zh"}
    assert find_written_language("eng", "language") == "en"


@pytest.mark.parametrize("library", [SUPPORTED_LANGUAGES, stop_words.LANGUAGE_MAPPING])
def test_every_language_of_a_library_is_known_by_its_code(library):
    for code in library:
        assert match_language(standardize_language(code), library) == code
    assert match_language("xx", library) is None


def test_word_lists_are_found_by_any_spelling():
    assert Lexicon("pt-BR").language == "pt"
    assert lemmatize("Hunde", "ger") == simplemma.lemmatize("Hunde", lang="de").lower() == "hund"
    assert load_stop_list("deu") == load_stop_list("de")
