"""Keyword extraction: lemmas of the content words of texts, with their frequencies."""

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
from close_transfer.core.languages import match_language
from textgen.config import KeywordSettings

# Letters of any script, with apostrophes and hyphens between them; digits and underscores are not letters.
_WORD = re.compile(r"(?<![^\W_])[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_STOP_WORDS = Path(__file__).parent / "stop_words_en.txt"


def extract_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without numbers and punctuation."""
    return _WORD.findall(text.lower())


@cache
def load_stop_list(language: str) -> frozenset[str]:
    """Return the function words of a language, which cannot be keywords.

    Raises:
        UserError: lists the known languages, if there is no list for this one.
    """
    if language == "en":  # the package's own list: longer ones drop content words of captions
        lines = _STOP_WORDS.read_text(encoding="utf-8").splitlines()
        return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
    try:
        return frozenset(stop_words.get_stop_words(match_language(language, stop_words.LANGUAGE_MAPPING) or language))
    except stop_words.StopWordError:
        known = ", ".join(sorted(stop_words.LANGUAGE_MAPPING))
        raise UserError(f"keywords.language={language}: there is no stop list for it. Choose one of {known}") from None


@cache
def lemmatize(word: str, language: str) -> str:
    """Return the dictionary form (lemma) of a word in lower case.

    Raises:
        UserError: lists the known languages, if simplemma does not know this one.
    """
    try:
        return simplemma.lemmatize(word, lang=match_language(language, SUPPORTED_LANGUAGES) or language).lower()
    except ValueError:
        known = ", ".join(sorted(SUPPORTED_LANGUAGES))
        raise UserError(f"keywords.language={language}: there is no dictionary for it. Choose one of {known}") from None


@dataclass(frozen=True)
class KeywordCounts:
    """Keywords of a collection of texts.

    Attributes:
        counts: keyword -> number of texts that contain it; most frequent first, ties in alphabetical order.
        sets: keywords of each text that has any, in the order of the text.
        num_texts: number of all texts, with and without keywords.
    """

    counts: dict[str, int]
    sets: list[tuple[str, ...]]
    num_texts: int


def count_keywords(texts: Iterable[str], settings: KeywordSettings) -> KeywordCounts:
    """Count the lemmas of the texts' content words, each once per text.

    Excluded are words of the stop list and of `drop`, single letters, and words in fewer than `min_count` texts. With
    `part_of_speech`, words that the user's spaCy pipeline tags otherwise are excluded too.

    Args:
        texts: texts to count in.
        settings: language, exclusions and minimum count.

    Raises:
        UserError: if spaCy or its pipeline is needed and missing, or no keyword is left.
    """
    form_counts: Counter[tuple[str, str]] = Counter()
    find = (
        _make_part_of_speech_finder(settings)
        if settings.part_of_speech
        else _make_stop_list_finder(settings, form_counts)
    )
    sets: list[tuple[str, ...]] = []
    counts: Counter[str] = Counter()
    num_texts = 0
    for keywords in find(texts):
        num_texts += 1
        counts.update(keywords)
        if keywords:
            sets.append(keywords)
    names = _choose_forms(form_counts)
    if names:
        sets = [tuple(names.get(word, word) for word in keyword_set) for keyword_set in sets]
        counts = Counter({names.get(word, word): n for word, n in counts.items()})
    # A fixed order, so that samplers draw the same keywords from the same texts.
    kept_counts = {
        word: n for word, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if n >= settings.min_count
    }
    if not kept_counts:
        raise UserError(
            f"references: no keyword is in at least keywords.min_count={settings.min_count} of the {num_texts:,} texts. "
            "Lower it, or give more texts"
        )
    if settings.min_count > 1:
        sets = [
            kept_set for keyword_set in sets if (kept_set := tuple(word for word in keyword_set if word in kept_counts))
        ]
    return KeywordCounts(kept_counts, sets, num_texts)


_Finder = Callable[[Iterable[str]], Iterator[tuple[str, ...]]]


def _choose_forms(form_counts: Counter[tuple[str, str]]) -> dict[str, str]:
    """Map each lemma that no text contains to its most frequent form in the texts.

    Some dictionaries have wrong lemmas, such as "playe" for "playing"; a language model must not be asked for them.
    """
    forms = {form for _, form in form_counts}
    most_frequent: dict[str, tuple[int, str]] = {}
    for (lemma, form), n in sorted(form_counts.items()):  # sorted, so that ties do not depend on the texts' order
        if lemma not in forms and n > most_frequent.get(lemma, (0, ""))[0]:
            most_frequent[lemma] = n, form
    lemmas = {lemma for lemma, _ in form_counts}
    return {lemma: form for lemma, (_, form) in most_frequent.items() if form not in lemmas}


def _make_stop_list_finder(settings: KeywordSettings, form_counts: Counter[tuple[str, str]]) -> _Finder:
    """Make a finder of words that are not in the stop list; it counts (lemma, form in the text) in `form_counts`."""
    unwanted = load_stop_list(settings.language) | {word.lower() for word in settings.drop}

    @cache
    def find_keyword(word: str) -> str | None:
        if len(word) < 2 or word in unwanted:
            return None
        lemma = lemmatize(word, settings.language)
        return None if len(lemma) < 2 or lemma in unwanted else lemma

    def find(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
        for text in texts:
            pairs = [(lemma, word) for word in extract_words(text) if (lemma := find_keyword(word))]
            form_counts.update(pairs)
            yield tuple(dict.fromkeys(lemma for lemma, _ in pairs))

    return find


def _make_part_of_speech_finder(settings: KeywordSettings) -> _Finder:
    """Make a finder of words with the wanted part of speech, by the user's spaCy pipeline.

    spaCy is not a dependency, because its pipelines are not on the package index.
    """
    wanted, name = set(settings.part_of_speech or ()), settings.spacy_pipeline
    setting = f"keywords.part_of_speech=[{','.join(sorted(wanted))}]"
    if name is None:
        raise UserError(
            f"{setting}: needs a spaCy pipeline. Give keywords.spacy_pipeline=NAME, or keywords.part_of_speech=null"
        )
    if importlib.util.find_spec("spacy") is None:
        raise UserError(
            f"{setting}: spaCy is not installed. Run pip install spacy, or give keywords.part_of_speech=null"
        )
    import spacy

    try:
        pipeline = spacy.load(name, exclude=["parser", "ner"])
    except OSError:
        raise UserError(
            f"keywords.spacy_pipeline={name}: spaCy has no such pipeline here. Install it (python -m spacy download "
            f"{name}), give the folder of one, or keywords.part_of_speech=null"
        ) from None
    unwanted = load_stop_list(settings.language) | {word.lower() for word in settings.drop}

    def find(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
        for document in pipeline.pipe(texts):
            lemmas = (token.lemma_.lower() for token in document if token.pos_ in wanted and token.is_alpha)
            yield tuple(dict.fromkeys(word for word in lemmas if len(word) > 1 and word not in unwanted))

    return find
