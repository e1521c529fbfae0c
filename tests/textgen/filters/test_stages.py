"""Filters one by one: removed and kept texts, and the chain of all."""

import subprocess
import sys

import pytest

from close_transfer.core.errors import UserError
from tests.conftest import REPOSITORY
from tests.settings import make_filters, make_recipe
from textgen.config import FieldSettings
from textgen.corpus.candidate import Candidate
from textgen.filters import build_chain, require_clip, run_chain
from textgen.filters.chain import KEPT_EXAMPLES
from textgen.filters.clip_tokens import ClipTokens
from textgen.filters.language import Language
from textgen.filters.length import Length
from textgen.filters.recipe_checks import FieldsAgree, KeywordsPresent
from textgen.filters.words import Lexicon


def candidates(*texts, **fields):
    return [Candidate(f"r-{number}", "r", text, **fields) for number, text in enumerate(texts)]


def reason(stage, text, **fields):
    return stage.find_reasons(candidates(text, **fields))[0]


def recipe(**settings):
    return make_recipe(**{"name": "t", "template": "t.txt", **settings})


def chain(filters=None, settings=None, **texts):
    given = {"instructions": "", "examples": [], "references": [], "evaluation": [], **texts}
    return build_chain(filters or make_filters(), settings or recipe(), **given)


def test_length_counts_words_of_the_text():
    stage = Length((3, 5))
    assert reason(stage, "A dog runs.") is None
    assert reason(stage, "A dog") == "2 words; 3 to 5 were asked for"
    assert "6 words" in reason(stage, "one two three four five six")


def test_a_text_with_an_empty_field_is_removed():
    assert reason(Length((1, 5)), "A dog", fields={"question": "What?", "answer": " "}) == "its answer is empty"


@pytest.fixture(scope="module")
def english():
    return Language(Lexicon("en"), make_filters().min_known_words)


@pytest.mark.parametrize(
    "text",
    [
        "Dogs racing",
        "A man rides his horse past her house.",
        "Harry Potter and Hermione Granger fly over Hogwarts.",
        "TWO DOGS PLAY IN THE SNOW",
        "3 dogs and 12 cats",
        "A wakeboarder jumps.",
        "She lifts her arms, her mother dries her hair.",
        "The boy's t-shirt doesn't fit.",
        "My mother\u2019s dog isn\u2019t here.",
    ],
)
def test_english_captions_are_kept(english, text):
    assert reason(english, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Ein Mann fährt mit einem Fahrrad durch die Stadt.",
        "Der alte Mann liest eine Zeitung im Park.",
        "Un petit garçon saute dans l'eau.",
        "Una mujer con un vestido rojo está delante de una casa.",
        "一个男人在骑马",
        "ingerous theBUG qtrl izable ocumented aaaf",
        "$ 42 !!",
    ],
)
def test_other_languages_and_babble_are_removed(english, text):
    assert reason(english, text)


def test_the_reason_names_the_share_and_the_words(english):
    message = reason(english, "a dog xqzt wvrk")
    assert "50%" in message
    assert "75%" in message
    assert "xqzt, wvrk" in message


def test_german_captions_are_kept_if_german_is_wanted():
    german = Language(Lexicon("de"), 0.75)
    assert reason(german, "Zwei Hunde spielen im Schnee.") is None
    assert reason(german, "Two dogs are playing together with their owners.")


def test_an_unknown_language_is_refused():
    with pytest.raises(UserError, match=r"filters\.language=tlh.*en.*null"):
        chain(make_filters(language="tlh"))


def test_keywords_are_compared_by_their_lemmas():
    every = KeywordsPresent(Lexicon("en"), every=True)
    assert reason(every, "Two dogs were running.", keywords=("dog", "run")) is None
    assert reason(every, "Two dogs were sleeping.", keywords=("dog", "run")) == "does not hold 'run'"
    assert reason(every, "A catalogue", keywords=("cat",)) == "does not hold 'cat'"
    assert reason(every, "Anything at all.") is None


def test_the_words_of_a_keyword_must_be_consecutive():
    every = KeywordsPresent(Lexicon("en"), every=True)
    assert reason(every, "Two cell phones lie there.", keywords=("cell phone",)) is None
    assert reason(every, "A T-shirt", keywords=("t-shirt",)) is None
    assert reason(every, "A phone lies in a cell.", keywords=("cell phone",))


def test_any_keyword_is_enough_if_the_recipe_allows_it():
    any_keyword = KeywordsPresent(Lexicon("en"), every=False)
    assert reason(any_keyword, "A dog sleeps.", keywords=("dog", "run")) is None
    assert reason(any_keyword, "A cat sleeps.", keywords=("dog", "run")) == "does not hold 'dog', 'run'"


def test_an_answer_must_be_in_the_text_as_whole_words():
    stage = FieldsAgree({"answer": "text"}, ())
    assert reason(stage, "Two Red, dogs.", fields={"answer": "red dogs"}) is None
    assert "answer" in reason(stage, "A catalogue", fields={"answer": "cat"})
    assert reason(stage, "A cat", fields={"answer": "?!"})


def test_fields_that_must_differ():
    stage = FieldsAgree({}, ("text", "hypothesis"))
    assert (
        reason(stage, "A dog runs.", fields={"hypothesis": "a dog runs"}) == "its text and its hypothesis say the same"
    )
    assert reason(stage, "A dog runs.", fields={"hypothesis": "A cat runs."}) is None


def test_texts_longer_than_clips_context_are_removed():
    stage = ClipTokens(77)
    assert reason(stage, " ".join(["dog"] * 75)) is None  # with start and end 77
    assert reason(stage, " ".join(["dog"] * 76)) == "78 tokens of CLIP; it reads 77"


def test_short_texts_need_no_tokenizer():
    stage = ClipTokens(77)
    assert reason(stage, "word " * 15) is None
    assert "_tokenizer" not in vars(stage)


def test_without_open_clip_the_setting_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match=r"open_clip cannot be imported.*filters\.clip_tokens=null"):
        require_clip()
    with pytest.raises(UserError, match="clip_tokens"):
        chain()
    assert chain(make_filters(clip_tokens=None))


WITHOUT_TORCH = """
import re, sys
sys.modules["torch"] = sys.modules["transformers"] = sys.modules["open_clip"] = None
import textgen.text.statistics
from textgen.corpus.candidate import Candidate
from close_transfer.core.command_line import compose_config
from textgen.config import SynthesizeCaptionsConfig
from textgen.filters import build_chain, run_chain
config = compose_config("synthesize_captions", SynthesizeCaptionsConfig, ["recipe.words=[3,40]", "filters.clip_tokens=null"])
chain = build_chain(
    config.filters, config.recipe, instructions="", examples=["A cat."], references=[], evaluation=["A bird."]
)
print(len(run_chain(chain, [Candidate("r-0", "r", "A dog runs on grass."), Candidate("r-1", "r", "No")]).kept))
assert not [name for name in sys.modules if re.match("close_transfer.(?!core)", name)]
"""


def test_filters_run_without_torch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_importing_the_filters_does_not_import_torch():
    code = "import sys, textgen.filters, textgen.text.statistics; sys.exit('torch' in sys.modules or 'open_clip' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_the_chain_counts_and_keeps_examples():
    removals = []
    texts = ["A dog runs on grass.", "No", "Certainly! A cat sleeps.", *(["Dogs"] * KEPT_EXAMPLES)]
    result = run_chain(chain(), candidates(*texts), lambda *removal: removals.append(removal))
    assert [candidate.id for candidate in result.kept] == ["r-0"]
    counts = {stage.name: (stage.num_in, stage.num_out) for stage in result.stages}
    assert counts["length"] == (23, 21)
    assert counts["refusals and assistant talk"] == (2, 1)
    (length,) = [stage for stage in result.stages if stage.name == "length"]
    assert len(length.examples) == KEPT_EXAMPLES
    assert tuple(length.examples[0]) == ("r-1", "1 words; 3 to 40 were asked for", "No")
    assert len(removals) == 22
    assert removals[-1][0] == "refusals and assistant talk"
    assert removals[-1][2].id == "r-2"


def test_the_stages_run_in_order():
    settings = recipe(fields={"text": FieldSettings(), "answer": FieldSettings()}, must_contain={"answer": "text"})
    assert [stage.name for stage in chain(settings=settings, evaluation=["A dog."])] == [
        "cut short", "length", "language", "refusals and assistant talk", "leaked prompt", "markup", "repetition", "keywords",
        "fields", "CLIP's tokens", "examples and evaluation texts", "exact duplicates", "near duplicates", "overused n-grams",
    ]  # fmt: skip


def test_settings_turn_stages_off():
    off = make_filters(
        language=None, refusals=False, leaks=False, markup=False, repetition=False, clip_tokens=None,
        exact_duplicates=False, near_duplicates=None, overused_share=None, evaluation_overlap=None,
    )  # fmt: skip
    settings = recipe(keywords_present="none")
    assert [stage.name for stage in chain(off, settings, evaluation=["A dog."])] == ["cut short", "length"]


def test_a_truncated_text_is_removed_and_the_rest_of_its_answer_kept():
    complete, truncated = (
        Candidate("r-0", "r", "A dog runs on grass."),
        Candidate("r-1", "r", "A cat sleeps on the", is_truncated=True),
    )
    result = run_chain(chain(), [complete, truncated])
    assert result.kept == [complete]
    assert result.stages[0].examples == (("r-1", "max_output_tokens ended it", "A cat sleeps on the"),)


class Failing:
    """Stage that cannot read some texts."""

    name = "failing"

    def find_reasons(self, given):
        if any("bad" in candidate.text for candidate in given):
            raise RecursionError("too deep")
        return ["short" if len(candidate.text) < 8 else None for candidate in given]


def test_a_text_that_a_filter_cannot_read_is_removed_alone():
    removed = []
    texts = candidates("A dog runs.", "A bad dog.", "A dog.", "A cat sleeps.")
    result = run_chain([Failing(), Length((3, 9))], texts, lambda *what: removed.append(what[:2]))
    assert [candidate.text for candidate in result.kept] == ["A dog runs.", "A cat sleeps."]
    assert removed == [("errors of the filter failing", "RecursionError: too deep"), ("failing", "short")]
    assert [(stage.name, stage.num_in, stage.num_out) for stage in result.stages] == [
        ("errors of the filter failing", 4, 1), ("failing", 3, 1), ("length", 2, 0),
    ]  # fmt: skip
