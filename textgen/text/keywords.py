"""Keywords of texts: their content words as lemmas, with how often they occur."""

import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import simplemma
import stop_words
from simplemma.strategies.dictionaries.dictionary_factory import SUPPORTED_LANGUAGES

from close_transfer.core.errors import UserError
from textgen.config import KeywordSettings

_WORD = re.compile(r"(?<![^\W_])[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_STOP_WORDS = Path(__file__).parent / "stop_words_en.txt"


def extract_words(text: str) -> list[str]:
    """The words of a text in lower case, without numbers and punctuation."""
    return _WORD.findall(text.lower())


@cache
def stop_list(language: str) -> frozenset[str]:
    """Function words of a language, which are no keywords.

    Raises:
        UserError: for a language without a list.
    """
    if language == "en":  # longer lists drop words that captions are about
        lines = _STOP_WORDS.read_text(encoding="utf-8").splitlines()
        return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
    try:
        return frozenset(stop_words.get_stop_words(language))
    except stop_words.StopWordError:
        known = ", ".join(sorted(stop_words.LANGUAGE_MAPPING))
        raise UserError(f"keywords.language={language}: there is no stop list; there are lists for {known}") from None


@cache
def lemmatize(word: str, language: str) -> str:
    """The dictionary form of a word in lower case.

    Raises:
        UserError: for a language that simplemma does not know.
    """
    try:
        return simplemma.lemmatize(word, lang=language).lower()
    except ValueError:
        known = ", ".join(sorted(SUPPORTED_LANGUAGES))
        raise UserError(f"keywords.language={language}: there is no dictionary; there are {known}") from None


@dataclass(frozen=True)
class KeywordCounts:
    """Keywords of some texts.

    Attributes:
        counts: texts that hold each keyword, the commonest first, equal ones in order of the alphabet.
        sets: of each text with keywords, which it holds, in the text's order.
        num_texts: all texts.
    """

    counts: dict[str, int]
    sets: list[tuple[str, ...]]
    num_texts: int


def count_keywords(texts: Iterable[str], settings: KeywordSettings) -> KeywordCounts:
    """Lemmas of the texts' content words, each counted once a text.

    Left out are words of the stop list, of `drop`, of one letter, and what occurs in fewer than `min_count` texts; with
    `part_of_speech`, whatever the user's spaCy pipeline does not tag so.

    Raises:
        UserError: if the part of speech is asked for without spaCy or the pipeline, or nothing is left.
    """
    written: Counter[tuple[str, str]] = Counter()
    find = (
        _make_part_of_speech_finder(settings) if settings.part_of_speech else _make_stop_list_finder(settings, written)
    )
    sets: list[tuple[str, ...]] = []
    counts: Counter[str] = Counter()
    num_texts = 0
    for keywords in find(texts):
        num_texts += 1
        counts.update(keywords)
        if keywords:
            sets.append(keywords)
    names = _choose_forms(written)
    if names:
        sets = [tuple(names.get(word, word) for word in keyword_set) for keyword_set in sets]
        counts = Counter({names.get(word, word): n for word, n in counts.items()})
    kept_counts = {
        word: n for word, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if n >= settings.min_count
    }
    if not kept_counts:
        raise UserError(
            f"references: no keyword is in at least keywords.min_count={settings.min_count} of the {num_texts:,} texts; "
            "lower it, or give more texts"
        )
    if settings.min_count > 1:
        sets = [
            kept_set for keyword_set in sets if (kept_set := tuple(word for word in keyword_set if word in kept_counts))
        ]
    return KeywordCounts(kept_counts, sets, num_texts)


_Finder = Callable[[Iterable[str]], Iterator[tuple[str, ...]]]


def _choose_forms(written: Counter[tuple[str, str]]) -> dict[str, str]:
    """The commonest form, by lemma, of lemmas that no text holds; some dictionaries have odd ones ("playe" of playing)."""
    forms = {form for _, form in written}
    commonest: dict[str, tuple[int, str]] = {}
    for (lemma, form), n in sorted(written.items()):
        if lemma not in forms and n > commonest.get(lemma, (0, ""))[0]:
            commonest[lemma] = n, form
    taken = {lemma for lemma, _ in written}
    return {lemma: form for lemma, (_, form) in commonest.items() if form not in taken}


def _make_stop_list_finder(settings: KeywordSettings, written: Counter[tuple[str, str]]) -> _Finder:
    """By the stop list; `written` counts (lemma, form in the texts)."""
    unwanted = stop_list(settings.language) | {word.lower() for word in settings.drop}

    @cache
    def find_keyword(word: str) -> str | None:
        if len(word) < 2 or word in unwanted:
            return None
        lemma = lemmatize(word, settings.language)
        return None if len(lemma) < 2 or lemma in unwanted else lemma

    def find(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
        for text in texts:
            pairs = [(lemma, word) for word in extract_words(text) if (lemma := find_keyword(word))]
            written.update(pairs)
            yield tuple(dict.fromkeys(lemma for lemma, _ in pairs))

    return find


def _make_part_of_speech_finder(settings: KeywordSettings) -> _Finder:
    """By a pipeline of spaCy that the user has: its models cannot be had from a package index."""
    wanted, name = set(settings.part_of_speech or ()), settings.spacy_pipeline
    setting = f"keywords.part_of_speech=[{','.join(sorted(wanted))}]"
    if name is None:
        raise UserError(
            f"{setting}: needs a spaCy pipeline; give keywords.spacy_pipeline=NAME, or keywords.part_of_speech=null"
        )
    if importlib.util.find_spec("spacy") is None:
        raise UserError(f"{setting}: spaCy is not installed; pip install spacy, or keywords.part_of_speech=null")
    import spacy

    try:
        pipeline = spacy.load(name, exclude=["parser", "ner"])
    except OSError:
        raise UserError(
            f"keywords.spacy_pipeline={name}: spaCy has no such pipeline here; install it (python -m spacy download "
            f"{name}), give the folder of one, or keywords.part_of_speech=null"
        ) from None
    unwanted = stop_list(settings.language) | {word.lower() for word in settings.drop}

    def find(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
        for document in pipeline.pipe(texts):
            lemmas = (token.lemma_.lower() for token in document if token.pos_ in wanted and token.is_alpha)
            yield tuple(dict.fromkeys(word for word in lemmas if len(word) > 1 and word not in unwanted))

    return find
