"""METEOR 1.5 (Denkowski and Lavie 2014), asked for counts by image and for scores of summed counts.

The program and its arguments are those of pycocoevalcap, whose class hands out no counts, may wait for ever
on a program with much to say, and leaves the program running until it is collected.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from pycocoevalcap.meteor import meteor

from close_transfer.core.arrays import Float64Array

_PROGRAM = Path(meteor.__file__).with_name(meteor.METEOR_JAR)
_COMMAND = ("java", "-jar", "-Xmx2G", str(_PROGRAM), "-", "-", "-stdio", "-l", "en", "-norm")

# The counts of a pair of sentences, in METEOR's order: lengths and function words of both; matches, for each
# of four matchers those of content and of function words, hypothesis and reference in turn; chunks; matched
# words of both.
_NUM_COUNTS = 23
_HYPOTHESIS_LENGTH, _REFERENCE_LENGTH, _CHUNKS = 0, 1, 20
_HYPOTHESIS_MATCHES, _REFERENCE_MATCHES = slice(4, 20, 2), slice(5, 20, 2)
_SEPARATOR = " ||| "


@contextmanager
def start_meteor() -> "Iterator[Meteor]":
    """Starts METEOR, and ends it with the block, however that ends; needs `java` on the path."""
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        assert process.stdin and process.stdout
        try:
            yield Meteor(process.stdin, process.stdout, messages)
        finally:
            process.kill()
            # What a failed program has not read would be written on closing, and cannot be.
            with suppress(BrokenPipeError):
                process.stdin.close()


def _adjust_chunks(counts: Float64Array) -> Float64Array:
    """The counts as METEOR adds them up: a hypothesis equal to its reference counts no chunk."""
    equal = (
        (counts[:, _HYPOTHESIS_MATCHES].sum(axis=1) == counts[:, _HYPOTHESIS_LENGTH])
        & (counts[:, _REFERENCE_MATCHES].sum(axis=1) == counts[:, _REFERENCE_LENGTH])
        & (counts[:, _CHUNKS] == 1)
    )
    counts[equal, _CHUNKS] = 0
    return counts


class Meteor:
    """A running METEOR.

    Sentences are tokenised (`ptb.ptb_tokenized`) and may be empty. Captions take milliseconds, but the time for
    a pair grows faster than its length: seconds at a thousand words a side, minutes at three thousand.
    """

    def __init__(self, questions: IO[bytes], answers: IO[bytes], messages: IO[bytes]) -> None:
        self._questions = questions
        self._answers = answers
        self._messages = messages

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
        """Counts of each image, whose sum over images gives their METEOR together; shape (images, 23)."""
        rows = []
        for hypothesis, group in zip(hypotheses, references, strict=True):
            # A separator within a sentence would make two of it.
            fields = [sentence.replace("|||", "") for sentence in (*group, hypothesis)]
            rows.append(self._ask(_SEPARATOR.join(["SCORE", *fields]), 1, _NUM_COUNTS)[0])
        return _adjust_chunks(np.array(rows).reshape(-1, _NUM_COUNTS))

    def scores(self, sums: Float64Array) -> Float64Array:
        """METEOR of each row of summed counts, in percent; shape (rows,)."""
        rows = [" ".join(f"{count:.1f}" for count in row) for row in sums]
        # One answer a row, then the score of all rows together.
        answers = self._ask(_SEPARATOR.join(["EVAL", *rows]), len(rows) + 1, 1)
        return 100 * np.array([score for (score,) in answers[:-1]])

    def _ask(self, line: str, num_lines: int, num_numbers: int) -> list[list[float]]:
        try:
            self._questions.write(f"{line}\n".encode())
            self._questions.flush()
            answers = [self._answers.readline().split() for _ in range(num_lines)]
            numbers = [[float(word) for word in answer] for answer in answers]
        except (BrokenPipeError, ValueError) as error:
            raise self._build_error() from error
        if any(len(row) != num_numbers for row in numbers):
            raise self._build_error()
        return numbers

    def _build_error(self) -> RuntimeError:
        self._messages.seek(0)
        messages = self._messages.read().decode(errors="replace")[-2000:]
        return RuntimeError(f"METEOR ({_PROGRAM.name}) gave no numbers; its last messages:\n{messages}")
