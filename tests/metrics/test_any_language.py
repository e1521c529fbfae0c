"""Scores of languages other than English; numbers are those of sacrebleu's own command, and of words counted by hand."""

import numpy as np
import pytest
from sacrebleu import corpus_chrf

from close_transfer.core.errors import UserError
from close_transfer.metrics.any_language import (
    compute_chrf,
    compute_exact_matches,
    describe_splitting,
    score_texts,
    split_words,
)
from close_transfer.metrics.captions import score_captions

GERMAN = (
    ["Zwei Hunde schlafen im Schnee.", "Ein Boot"],
    [["Zwei Hunde schlafen im Schnee", "Hunde, im Schnee"], ["Das Boot ist blau"]],
)


def test_words_are_those_of_the_language():
    assert split_words([["Zwei Hunde, im Schnee!"]], "de") == [["zwei hunde im schnee"]]
    assert split_words([["两只狗在雪地里。"]], "zh") == [["两 只 狗 在 雪 地 里"]]
    assert split_words([["犬が寝ている。"], ["A b"]], "ja") == [["犬 が 寝 て い る"], ["a b"]]
    assert split_words([["Две собаки спят"]], "ru") == [["две собаки спят"]]


def test_character_scores_are_sacrebleus():
    single = [one[:1] for one in GERMAN[1]]
    folded = [(said.lower(), one[0].lower()) for said, one in zip(GERMAN[0], single, strict=True)]
    expected = [corpus_chrf([said], [[told]]).score for said, told in folded]
    np.testing.assert_allclose(compute_chrf(GERMAN[0], single), expected, atol=1e-9)
    assert compute_chrf(["Zwei Hunde schlafen im Schnee"], [["anders", "Zwei Hunde schlafen im Schnee"]])[0] == 100


def test_perfect_answers_in_lower_case_score_100():
    told = ["Zwei Hunde schlafen im Schnee.", "An der Straße steht ein Haus", "ДВЕ СОБАКИ"]
    said = [text.lower() for text in told]
    assert compute_chrf(said, [[text] for text in told]).tolist() == [100, 100, 100]
    scores = score_captions(said, [[text] for text in told], 5, language="de").metrics
    assert [scores[name] for name in ("BLEU-1", "BLEU-2", "ROUGE-L", "chrF")] == pytest.approx([100] * 4)
    assert score_texts(said, [[text] for text in told], 5).metrics == {"chrF": 100, "exact_match": 100}


def test_exact_matches_are_blind_to_case_and_spaces_only():
    assert compute_exact_matches(["Ein  boot", "Ein Boot."], [["ein Boot"], ["ein Boot"]]).tolist() == [100, 0]


def test_captions_of_another_language_are_scored_without_english_parts():
    scores = score_captions(*GERMAN, 20, language="de")
    assert set(scores.metrics) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "chrF"}
    assert scores.metrics["BLEU-1"] == pytest.approx(
        100 * 6 / 7 * np.exp(1 - 9 / 7)
    )  # 6 of 7 words; 9 of the closest references
    assert scores.metrics["chrF"] == pytest.approx(float(compute_chrf(*GERMAN).mean()))
    low, high = scores.intervals["chrF"]
    assert low <= scores.metrics["chrF"] <= high
    chinese = score_captions(["两只狗"], [["两只狗在雪地里"]], 5, language="zh")
    assert chinese.metrics["BLEU-1"] > 0


@pytest.mark.parametrize("text", ["Две собаки спят", "Two dogs by the 寿司 bar", "두 마리의 개", "कुत्ता", "12 3", ""])
def test_texts_with_spaces_get_no_note(text):
    assert describe_splitting([[text]], "en") == ()


@pytest.mark.parametrize("text", ["犬が寝ている", "สุนัขวิ่ง", "ຫມາແລ່ນ", "ខ្លឹម", "ခွေး"])
def test_texts_without_spaces_get_a_note(text):
    assert len(describe_splitting([[text]], "en")) == 1


def test_free_text_has_character_scores_and_exact_matches():
    scores = score_texts(["Zwei Hunde", "Ein Boot"], [["zwei hunde"], ["Das Haus"]], 20)
    assert scores.metrics["exact_match"] == 50
    assert scores.leading == "chrF" and len(scores.per_example) == 2


def test_chinese_is_split_into_characters_under_any_code():
    """By hand, BLEU-1 is 100: each character is in a reference, and the nearest references are as long."""
    said = ["一只狗在草地上奔跑", "一艘红色的船在海边"]
    told = [["一只棕色的狗在草地上奔跑", "狗在草地上跑"], ["海边有一艘红色的船", "红船在海上"]]
    for code in ("zh", "cn", "zho", "zh-CN", "zh_Hans", "yue"):
        assert score_captions(said, told, 5, language=code).metrics["BLEU-1"] == pytest.approx(100)
        assert describe_splitting(told, code) == ()
    (note,) = score_captions(said, told, 5, language="de").notes
    assert note.startswith(
        "most letters belong to a script without spaces, but task.language=de splits words at spaces"
    )
    with pytest.raises(UserError, match="language=xx: is not the code of a language"):
        score_captions(said, told, 5, language="xx")
