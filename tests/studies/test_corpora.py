"""The study that trains on growing pieces of text corpora."""

import json

import pytest

from close_transfer.core.errors import UserError
from studies.commands import compose_config
from studies.config import StudyCorporaConfig
from studies.corpora import measure_style_share, run_study, write_pieces
from tests.conftest import SMALL_DATA, SMALL_LOOP, SMALL_MODEL


def config(*arguments):
    return compose_config("study_corpora", StudyCorporaConfig, arguments)


def corpus(path, num, form):
    path.write_text("".join(json.dumps({"text": form.format(i)}) + "\n" for i in range(num)))
    return path


def test_a_caption_is_in_the_style_by_whole_words_in_any_case():
    texts = ["I see a dog.", "My dog sleeps.", "An island in the mist.", "A dog and me"]
    assert measure_style_share(texts, ["i", "me", "my"]) == 0.75
    assert measure_style_share([], ["i"]) == 0


def test_pieces_are_the_beginnings_of_a_corpus(tmp_path):
    path = corpus(tmp_path / "mine.jsonl", 5, "a dog number {}")
    asked = config(f"corpora=[{path}]", "sizes=[2,4]", f"output={tmp_path / 'study'}")
    write_pieces(asked)
    lines = path.read_text().splitlines()
    assert (tmp_path / "study" / "corpora" / "mine-2.jsonl").read_text().splitlines() == lines[:2]
    assert (tmp_path / "study" / "corpora" / "mine-4.jsonl").read_text().splitlines() == lines[:4]
    corpus(path, 5, "a cat number {}")
    with pytest.raises(UserError, match=r"mine-2\.jsonl: was cut from another corpus"):
        write_pieces(asked)


def test_a_corpus_that_is_too_short_or_missing_is_told_before_training(tmp_path):
    path = corpus(tmp_path / "mine.jsonl", 5, "a dog number {}")
    with pytest.raises(UserError, match=r"corpora=.*has 5 texts, and sizes needs 10"):
        run_study(config(f"corpora=[{path}]", "sizes=[2,10]", f"output={tmp_path}"))
    with pytest.raises(UserError, match=r"there is no such file\. Run python scripts/synthesize_captions\.py"):
        run_study(config("corpora=[nowhere.jsonl]", f"output={tmp_path}"))


def test_settings_that_the_study_makes_itself_are_refused():
    with pytest.raises(UserError, match="train_overrides=seed=3: the study sets that itself"):
        config("train_overrides=seed=3")


@pytest.mark.slow
def test_a_row_for_every_size_and_for_other_data(tmp_path):
    path = corpus(tmp_path / "mine.jsonl", 60, "I see a red dog number {} in the park.")
    small = " ".join([*SMALL_MODEL, *SMALL_LOOP, "device=cpu"])
    other = " ".join(["data=picturebook", *SMALL_DATA])
    asked = config(
        f"corpora=[{path}]",
        "sizes=[40,60]",
        f"extra_systems=['{other}']",
        f"train_overrides={small}",
        f"eval_overrides=data=picturebook {' '.join(SMALL_DATA)} device=cpu",
        "seeds=1",
        "num_bootstrap=20",
        f"output={tmp_path / 'study'}",
    )
    table = run_study(asked)
    assert "| mine | 40 |" in table and "| mine | 60 |" in table and f"| {other} | all |" in table
    rows = json.loads((tmp_path / "study" / "corpora.json").read_text())["rows"]
    assert [row["corpus_in_style"] for row in rows] == [None, 1.0, 1.0]
    assert all(row["metric"] == "CIDEr" and len(row["by_seed"]) == 1 for row in rows)
    assert (tmp_path / "study" / "corpora.svg").read_text().count("<svg") == 1
