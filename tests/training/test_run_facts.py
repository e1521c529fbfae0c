"""Facts of a run: what results and model cards repeat is as training wrote it, or refused in a sentence."""

import json
import random
import shutil
from pathlib import Path

import pytest

from close_transfer.core.checksums import read_checked_json, write_checked_json
from close_transfer.core.errors import UserError
from close_transfer.reports.model_card import collect_run_facts
from close_transfer.training.run_facts import read_facts
from tests.commands import run_command
from tests.flips import flip_bit

WRONG = {
    "data_regime": "T7",
    "input_modality": "sound",
    "validation_input": None,
    "num_examples": -3,
    "num_trained_parameters": "44000",
    "num_skipped": 1.5,
    "skipped": {"too long": "3"},
    "data_fingerprint": 7,
    "encoder": ["picturebook"],
    "encoder_fingerprint": None,
}


@pytest.fixture
def run(finished_runs):
    folder = Path("run")
    folder.mkdir()
    source = finished_runs / "captioning" / "latest"
    for name in ("config.yaml", "facts.json"):
        shutil.copy(source / name, folder / name)
    return folder


def test_every_fact_has_a_type_and_none_may_be_missing(run):
    path = run / "facts.json"
    facts = read_checked_json(path)
    assert facts.keys() == WRONG.keys()
    for name, value in WRONG.items():
        for changed in (facts | {name: value}, {key: value for key, value in facts.items() if key != name}):
            write_checked_json(path, changed)
            with pytest.raises(UserError, match=rf"facts\.json: is damaged \(.*{name}.*\)\. Restore it from a copy"):
                read_facts(run)


def test_no_flipped_bit_reaches_a_model_card(run):
    path, rng = run / "facts.json", random.Random(0)
    good = path.read_bytes()
    assert collect_run_facts(run)["facts"].keys() == WRONG.keys() - {"encoder_fingerprint"}
    for _ in range(50):
        path.write_bytes(flip_bit(good, rng))
        with pytest.raises(UserError, match=r"facts\.json: is damaged"):
            collect_run_facts(run)


def test_a_changed_number_of_examples_is_not_exported(finished_runs):
    run = Path(shutil.copytree((finished_runs / "captioning" / "latest").resolve(), "run", symlinks=True))
    facts = json.loads((run / "facts.json").read_text())
    (run / "facts.json").write_text(json.dumps(facts | {"num_examples": facts["num_examples"] + 1}))
    ended = run_command("export_model", f"run={run}", "task=captioning", "output=exported")
    assert (ended.status, Path("exported").exists()) == (2, False)
    assert "facts.json: is damaged (its contents do not match its checksum)" in ended.err
