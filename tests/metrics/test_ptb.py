import gzip
import json
import os
import shutil
from pathlib import Path

import pycocoevalcap
import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from close_transfer.metrics import ptb
from close_transfer.metrics.java import provide_java
from close_transfer.metrics.ptb import tokenize_captions, tokenize_ptb

TRICKY = [
    "A man's dog; the U.S. flag (etc.) -- on a 3.5-inch t-shirt!",
    "He said: \"I'm gonna go\" ... didn't he?",
    "Meet at 12:30 p.m. on Jan. 5th, for $1,000.50 or 1/2 price & more.",
    "café ☕ naïve “quoted” text \u2013 with dashes — and €5",
    "ends with an abbreviation etc.",
    "Then an upper-case line follows a.m.",
    "<b>bold</b> <a href=\"x\"> [brackets] {braces} http://example.org/a?b=c user@example.org #tag",
    "no-break\u00a0space, wide\u3000space, two  spaces and\ta tab ",
    "",
    " ",
    "...",
    "smile 😀 and a flag 🇩🇪",
]  # fmt: skip


def captions_by_image():
    """Real captions where there are some, and in any case the tricky ones."""
    groups = {0: TRICKY}
    if folder := os.environ.get("CLOSE_TRANSFER_DATA"):
        with gzip.open(Path(folder, "coco", "captions_val2017.json.gz"), "rt", encoding="utf-8") as file:
            for annotation in json.load(file)["annotations"][:600]:
                groups.setdefault(annotation["image_id"] + 1, []).append(annotation["caption"])
    return groups


def test_tokens_are_those_of_the_official_tokenizer():
    groups = captions_by_image()
    with provide_java():
        official = PTBTokenizer().tokenize({k: [{"caption": c} for c in group] for k, group in groups.items()})
    assert tokenize_ptb(list(groups.values())) == list(official.values())


def test_captions_and_references_are_tokenised_as_apart():
    """The last caption is one whose tokens are others if a sentence follows in the same file."""
    hypotheses = [*TRICKY, "", "boundary", "A sign of St and CTH D."]
    references = [["The sign", "boundary"], [], ["boundary"], TRICKY]
    tokens = tokenize_captions(hypotheses, references)
    assert tokens == (tokenize_ptb([hypotheses])[0], tokenize_ptb(references))
    assert tokens[0][-1] == "a sign of st and cth d."
    assert tokenize_ptb([hypotheses[-1:], *references])[0] == ["a sign of st and cth d"]
    assert tokenize_captions([], []) == ([], [])


def test_references_from_the_cache_belong_to_their_captions(tmp_path):
    references = [["A dog.", "Two dogs"], ["A cat."]]
    first = tokenize_captions(["A dog!", "A cat"], references, tmp_path)
    assert first == (["a dog", "a cat"], [["a dog", "two dogs"], ["a cat"]])
    (kept,) = tmp_path.iterdir()
    assert tokenize_ptb(references, tmp_path) == first[1] and [kept] == list(tmp_path.iterdir())
    assert tokenize_captions(["A hat.", ""], references, tmp_path) == (["a hat", ""], first[1])


@pytest.mark.parametrize(
    "answer", [b"one\ntwo\nthree", b"one\ntwo\nthree\nboundary", b"one\ntwo\nboundary\nthree", b""]
)
def test_lines_of_another_file_are_an_error(monkeypatch, answer):
    monkeypatch.setattr(ptb, "run_java", lambda *_: b"one\nboundary\ntwo\nthree")
    assert tokenize_captions(["One"], [["two", "three"]]) == (["one"], [["two", "three"]])
    monkeypatch.setattr(ptb, "run_java", lambda *_: answer)
    with pytest.raises(RuntimeError, match="lines for 3 captions"):
        tokenize_captions(["One"], [["two", "three"]])


SEPARATORS = [
    "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029", "\n\n", "\u2029\n\r",
    "\u00a0", "\u1680", "\u2003", "\u202f", "\u205f", "\u3000", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e",
    "\x00", "\x07", "\x1a", "\x7f", "\ud800", "\udfff", "\udc80\ud83d", "😀", "🇩🇪", "\U000e0001", "\uffff", "|||", "&#10;", "<!--",
]  # fmt: skip


def test_no_character_shifts_the_neighbours():
    placed = [[f"a dog{s}and a cat", f"{s}a dog", f"a dog{s}", s] for s in SEPARATORS]
    marks = [[f"mark number {i}"] for i in range(len(SEPARATORS) + 1)]
    texts = [marks[0]] + [group for pair in zip(placed, marks[1:], strict=True) for group in pair]
    tokens = tokenize_ptb(texts)
    assert tokens[0::2] == marks, "what stands between is as it was"
    for separator, group in zip(SEPARATORS, tokens[1::2], strict=True):
        inside, before, after, alone = group
        assert inside.startswith("a dog") and inside.endswith("and a cat"), repr(separator)
        assert before.endswith("a dog") and after.startswith("a dog"), repr(separator)
        assert "dog" not in alone, repr(separator)


@pytest.mark.parametrize("end", ["\r", "\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_a_line_end_is_a_space(end):
    assert tokenize_ptb([[f"a dog{end}and a cat"], ["a horse"]]) == [["a dog and a cat"], ["a horse"]]


def test_groups_keep_their_sizes():
    assert tokenize_ptb([["A dog.", ""], [], ["Two cats"], [""]]) == [["a dog", ""], [], ["two cats"], [""]]
    assert tokenize_ptb([]) == []
    assert tokenize_ptb([[], []]) == [[], []]


def test_a_very_long_caption_is_one_line():
    tokens = tokenize_ptb([["word " * 50_000], ["after"]])
    assert len(tokens[0][0].split()) == 50_000
    assert tokens[1] == ["after"]


def test_another_number_of_lines_is_an_error(monkeypatch):
    monkeypatch.setattr(ptb, "run_java", lambda *_: b"one\ntwo\nthree")
    with pytest.raises(RuntimeError, match="3 lines for 2 captions"):
        tokenize_ptb([["one"], ["two"]])


def test_a_failing_tokenizer_says_why(monkeypatch):
    run = ptb.run_java
    monkeypatch.setattr(ptb, "run_java", lambda words, folder: run(["-cp", "no-such.jar", *words[2:]], folder))
    with pytest.raises(RuntimeError, match=r"(?s)ended with status 1.*PTBTokenizer"):
        tokenize_ptb([["one"]])


def written_times():
    """When anything was last made or removed in the folders of pycocoevalcap."""
    root = Path(pycocoevalcap.__path__[0])
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*")) if "__pycache__" not in str(path)}


def test_nothing_is_written_into_the_folder_of_the_tokenizer():
    before = written_times()
    tokenize_ptb([["a dog"]])
    assert written_times() == before


GROUPS = [["A dog.", "Two dogs!"], ["Ein Café\u2028am Meer"]]
TOKENS = [["a dog", "two dogs"], ["ein café am meer"]]


@pytest.fixture
def no_java(monkeypatch):
    """From when it is called on, the tokenizer must not run."""

    def forbid():
        def run(*_):
            raise AssertionError("tokenised again")

        monkeypatch.setattr(ptb, "run_java", run)

    return forbid


def test_kept_tokens_are_used_again(tmp_path, no_java):
    assert tokenize_ptb(GROUPS, tmp_path / "made") == TOKENS
    no_java()
    assert tokenize_ptb(GROUPS, tmp_path / "made") == TOKENS
    (kept,) = (tmp_path / "made").iterdir()
    assert kept.suffix == ".json"


def test_other_texts_have_other_tokens(tmp_path):
    tokenize_ptb(GROUPS, tmp_path)
    assert tokenize_ptb([["A cat."], ["A hat."]], tmp_path) == [["a cat"], ["a hat"]]
    assert tokenize_ptb([["A dog.Two dogs!"]], tmp_path) != TOKENS
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"two dogs", b"two cats"),
        lambda content: content.replace(b'"two dogs"', b"2"),
        lambda content: b"\xff\xfe" + content,
        lambda content: b"[]",
        lambda content: b"null",
        lambda content: b"[" * 100_000,
        lambda content: json.dumps({"tokens": ["a"], "fingerprint": "0"}).encode(),
        lambda content: json.dumps({"tokens": 5, "fingerprint": 5}).encode(),
    ],
)
def test_damaged_tokens_are_made_again(tmp_path, damage, no_java):
    tokenize_ptb(GROUPS, tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert tokenize_ptb(GROUPS, tmp_path) == TOKENS
    assert kept.read_bytes() == whole
    no_java()
    assert tokenize_ptb(GROUPS, tmp_path) == TOKENS


def test_a_cache_that_cannot_be_written_costs_no_scores(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert tokenize_ptb(GROUPS, tmp_path / "file" / "tokenized") == TOKENS
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_tokenizer_runs_where_text_is_not_utf8(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    assert tokenize_ptb(GROUPS) == TOKENS


@pytest.mark.skipif(not shutil.which("java"), reason="only the wheel's Java is here, which the other tests use")
def test_both_javas_give_the_same_tokens(monkeypatch):
    installed = tokenize_ptb([TRICKY])
    kept = [p for p in os.environ["PATH"].split(os.pathsep) if not shutil.which("java", path=p)]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))
    assert tokenize_ptb([TRICKY]) == installed
