"""BLEU, METEOR, ROUGE-L and CIDEr by pycocoevalcap, the scorers of the COCO caption challenge.

All numbers are times 100, as papers print them. Intervals come from resampling images: BLEU and
METEOR are recomputed from the resampled images' counts, as both are corpus scores; ROUGE-L and CIDEr
are means of image scores, CIDEr with the document frequencies of the whole evaluation set.
"""

from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from close_transfer.metrics.bootstrap import Floats, Scores, score_sums
from close_transfer.metrics.java import java_messages_held, java_on_path

CAPTION_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


def ptb_tokenized(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Lower-cased Penn Treebank tokens joined by spaces, punctuation removed; needs Java.

    The tokenizer pairs its output with its input line by line, so whatever it could take for a
    line break is turned into a space first.
    """
    flat = {i: [{"caption": " ".join(text.split()) or "."} for text in group] for i, group in enumerate(texts)}
    with java_messages_held():
        tokenized = PTBTokenizer().tokenize(flat)
    return [tokenized[i] for i in range(len(texts))]


def _bleu_statistics(hypotheses: list[str], references: list[list[str]]) -> Floats:
    """Shape (images, 10): test length, closest reference length, 4 guesses, 4 matches."""
    scorer = BleuScorer(n=4)
    for hypothesis, group in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, group)
    rows = []
    for one in scorer.ctest:
        closest = min((abs(length - one["testlen"]), length) for length in one["reflen"])[1]
        rows.append([one["testlen"], closest, *one["guess"], *one["correct"]])
    return np.array(rows, dtype=float)


def _bleu(sums: Floats) -> dict[str, Floats]:
    """Corpus BLEU of each row of summed statistics, with the scorer's own small constants."""
    test_length, reference_length = sums[:, 0], sums[:, 1]
    precisions = (sums[:, 6:10] + 1e-15) / (sums[:, 2:6] + 1e-9)
    ratio = (test_length + 1e-15) / (reference_length + 1e-9)
    brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    products = np.cumprod(precisions, axis=1)
    return {f"BLEU-{n}": 100 * brevity * products[:, n - 1] ** (1 / n) for n in (1, 2, 3, 4)}


class _MeteorProcess:
    """The METEOR 1.5 process, asked for counts by image and for scores of summed counts."""

    def __init__(self) -> None:
        self._meteor = Meteor()

    def statistics(self, hypotheses: list[str], references: list[list[str]]) -> Floats:
        """Shape (images, counts): METEOR's own sufficient counts, which add up over images."""
        rows = [
            # METEOR takes no empty sentence; a lone full stop matches nothing either.
            [float(n) for n in self._meteor._stat(hypothesis or ".", group).split()]
            for hypothesis, group in zip(hypotheses, references, strict=True)
        ]
        return np.array(rows)

    def scores(self, sums: Floats) -> Floats:
        """METEOR of each row of summed counts, in percent."""
        process = self._meteor.meteor_p
        line = "EVAL" + "".join(" ||| " + " ".join(f"{n:.1f}" for n in row) for row in sums)
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()
        scores = [float(process.stdout.readline()) for _ in sums]
        process.stdout.readline()  # the score of all rows together
        return 100 * np.array(scores)


def caption_scores(hypotheses: Sequence[str], references: Sequence[Sequence[str]], num_resamples: int) -> Scores:
    """Scores one caption an image against the image's references.

    Args:
        hypotheses: one caption an image.
        references: one or more captions an image, in the same order.
        num_resamples: bootstrap draws for the intervals.
    """
    with java_on_path():
        tokens = ptb_tokenized([[hypothesis] for hypothesis in hypotheses])
        hypothesis_tokens = [group[0] for group in tokens]
        reference_tokens = ptb_tokenized(references)
        meteor = _MeteorProcess()
        meteor_counts = meteor.statistics(hypothesis_tokens, reference_tokens)
        gts = dict(enumerate(reference_tokens))
        res = {i: [text] for i, text in enumerate(hypothesis_tokens)}
        _, cider = Cider().compute_score(gts, res)
        _, rouge = Rouge().compute_score(gts, res)
        bleu_counts = _bleu_statistics(hypothesis_tokens, reference_tokens)
        statistics = np.column_stack([bleu_counts, rouge, cider, np.ones(len(cider)), meteor_counts])

        def metrics(sums: Floats) -> dict[str, Floats]:
            bleu, rouge_sum, cider_sum, count = sums[:, :10], sums[:, 10], sums[:, 11], sums[:, 12]
            return {
                **_bleu(bleu),
                "METEOR": meteor.scores(sums[:, 13:]),
                "ROUGE-L": 100 * rouge_sum / count,
                "CIDEr": 100 * cider_sum / count,
            }

        values, intervals = score_sums(statistics, metrics, num_resamples)
    return Scores(values, intervals, [100 * float(score) for score in cider], "CIDEr")
