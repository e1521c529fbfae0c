import pytest

from close_transfer.metrics.ngrams import count_caption_ngrams


def test_ngrams_are_in_the_order_of_their_first_occurrence():
    ngrams = count_caption_ngrams(["b a b a", "c"], [["a b"], ["c a c", ""]])
    words, bigrams, trigrams, _ = ngrams.captions
    b, a, c = words.ngrams
    assert (words.texts.tolist(), words.counts.tolist()) == ([0, 0, 1], [2, 2, 1])
    assert (bigrams.texts.tolist(), bigrams.counts.tolist()) == ([0, 0], [2, 1])
    assert trigrams.texts.tolist() == [0, 0]
    others = ngrams.references[0]
    assert others.texts.tolist() == [0, 0, 1, 1]
    assert others.ngrams.tolist() == [a, b, c, a]
    assert others.counts.tolist() == [1, 1, 2, 1]
    assert ngrams.images.tolist() == [0, 1, 1]
    assert ngrams.reference_lengths.tolist() == [2, 3, 0]


def test_matches_are_in_the_order_of_the_caption():
    ngrams = count_caption_ngrams(["c b a", "a"], [["a b", "b c"], ["c"]])
    rows, matched = ngrams.matches[0]
    assert rows.tolist() == [1, 2, 0, 1], "b, a and c, b: nothing of the other image"
    assert ngrams.references[0].ngrams[matched].tolist() == ngrams.captions[0].ngrams[rows].tolist()
    assert ngrams.references[0].texts[matched].tolist() == [0, 0, 1, 1]


def test_no_words_and_no_images_are_counted():
    assert [table.num_ngrams for table in count_caption_ngrams([""], [[" "]]).captions] == [0] * 4
    assert len(count_caption_ngrams([], []).images) == 0


@pytest.mark.parametrize("references", [[["a"]], [["a"], []], [["a"], ["b"], ["c"]]])
def test_captions_without_references_are_an_error(references):
    with pytest.raises(ValueError, match="2 captions need as many groups"):
        count_caption_ngrams(["a", "b"], references)
