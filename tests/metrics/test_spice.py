"""SPICE's own models are too large to ship, so a stand-in for Java takes the place of its program here."""

import json
import stat
import sys

import pytest

from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example
from close_transfer.evaluation.extra_metrics import compute_extra_scores
from close_transfer.metrics import spice

HYPOTHESES = ["A red dog.", "Two cats", "a boat"]
REFERENCES = [["A red dog.", "a hound"], ["One cat"], ["A sailboat"]]
F_SCORES = [1.0, 0.25, 0.5]

# Gives its version; asked for SPICE, gives the scores in reverse order, and says how it was called.
STAND_IN = """#!{python}
import json, os, sys
if sys.argv[1] == "-version":
    print('openjdk version "{version}" 2020-01-01', file=sys.stderr)
    sys.exit()
asked = json.load(open(sys.argv[4]))
options = sys.argv[5:]
json.dump({{"arguments": sys.argv[1:], "asked": asked}}, open("{told}", "w"))
if {status}:
    sys.exit("no memory left")
given = {scores}
with open(options[options.index("-out") + 1], "w") as file:
    json.dump([{{"image_id": o["image_id"], "scores": {{"All": {{"f": given[o["image_id"]]}}}}}} for o in asked[::-1]], file)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine with this Java, with or without SPICE's models; gives what its program was told."""

    def make(version="1.8.0_292", models=True, status=0):
        home = tmp_path / "java home"
        java = home / "bin" / "java"
        java.parent.mkdir(parents=True)
        told = tmp_path / "told.json"
        java.write_text(
            STAND_IN.format(python=sys.executable, version=version, told=told, status=status, scores=F_SCORES)
        )
        java.chmod(java.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("JAVA_HOME", str(home))
        libraries = tmp_path / "lib"
        libraries.mkdir()
        if models:
            for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
                (libraries / name).touch()
        monkeypatch.setattr(spice, "LIBRARIES", libraries)
        return told

    return make


@pytest.mark.parametrize("version", ["1.8.0_292", "11.0.2", "14"])
def test_scores_are_those_of_the_program_in_the_order_of_the_images(machine, tmp_path, version):
    told = machine(version)
    scores = spice.score_spice(
        ["a red dog", "two cats", "a boat"], [["a red dog", "a hound"], ["b"], ["c"]], tmp_path / "c"
    )
    assert scores.tolist() == F_SCORES
    told = json.loads(told.read_text())
    assert told["asked"][0] == {"image_id": 0, "test": "a red dog", "refs": ["a red dog", "a hound"]}
    jar, rest = told["arguments"][2], told["arguments"][4:]
    assert jar.endswith("spice-1.0.jar")
    assert (rest[0], rest[1], rest[4:]) == ("-cache", str(tmp_path / "c"), ["-subset", "-silent"])


def test_the_option_gives_a_score_an_image_times_100(machine, tmp_path, monkeypatch):
    machine()
    monkeypatch.setenv("CLOSE_TRANSFER_CACHE", str(tmp_path))
    examples = [Example(str(i), (), references=tuple(group)) for i, group in enumerate(REFERENCES)]
    extra, encoder = compute_extra_scores(["spice"], examples, HYPOTHESES, None, None, "cpu")
    assert extra["SPICE"].tolist() == [100 * score for score in F_SCORES]
    assert encoder is None


def test_missing_models_are_named_with_their_place(machine, tmp_path):
    machine(models=False)
    with pytest.raises(UserError) as raised:
        spice.score_spice(["a"], [["a"]], tmp_path / "c")
    message = str(raised.value)
    for needed in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        assert str(tmp_path / "lib" / needed) in message
    assert "stanford-corenlp-full-2015-12-09.zip" in message
    assert "or leave it out" in message
    assert "Java" not in message, "this machine's Java will do"


@pytest.mark.parametrize("version", ["17.0.15", "25", "1.7.0_80"])
def test_a_java_that_cannot_run_it_is_named(machine, tmp_path, version):
    machine(version)
    major = "7" if version.startswith("1.7") else version.split(".")[0]
    with pytest.raises(UserError, match=rf"Java 8 to 14.*version {major}[;)].*or leave it out"):
        spice.score_spice(["a"], [["a"]], tmp_path / "c")


def test_no_java_at_all(machine, tmp_path, monkeypatch):
    machine()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="none was found"):
        spice.score_spice(["a"], [["a"]], tmp_path / "c")


def test_a_cache_that_cannot_be_written_is_named(machine, tmp_path):
    machine()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/spice cannot be written.*CLOSE_TRANSFER_CACHE"):
        spice.score_spice(["a"], [["a"]], tmp_path / "file" / "spice")


def test_a_failing_program_says_why(machine, tmp_path):
    machine(status=1)
    with pytest.raises(RuntimeError, match="no memory left"):
        spice.score_spice(["a"], [["a"]], tmp_path / "c")
