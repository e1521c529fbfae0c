import gzip
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from close_transfer.cli import compose_config
from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.readers.texts import read_corpus
from close_transfer.core.text_normalization import normalize_text
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.pipelines.pretrain_lm import _split_texts, describe_outcome, pretrain
from close_transfer.pipelines.train import train
from close_transfer.training.span_corruption import SpanCorruptor
from tests.conftest import SMALL_DATA, SMALL_LOOP, SMALL_MODEL, act_before_steps

SMALL_PRETRAINING = [*SMALL_MODEL, "text=texts.txt", "output=lm", "batch_size=16", "warmup_steps=2", "log_every=1",
                     "val_share=0.1", "device=cpu"]  # fmt: skip
TEXTS = [caption.text for scene in scenes("train", 25) for caption in captions(scene)]


@pytest.fixture(autouse=True)
def _texts():
    Path("texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))


def small(*overrides):
    return compose_config("pretrain_lm", PretrainLmConfig, [*SMALL_PRETRAINING, *overrides])


def weights(folder):
    return Path(folder, "model.safetensors").read_bytes()


def write_jsonl(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def log_of(folder):
    return [json.loads(line) for line in Path(folder, "training.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("objective", ["reconstruct", "denoise"])
def test_the_loss_falls_and_validation_is_logged(objective):
    outcome = pretrain(small(f"objective={objective}", "epochs=12", "learning_rate=0.01"))
    losses = [entry["loss"] for entry in log_of("lm") if "loss" in entry]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    told = outcome.summary["trained"]["losses"]
    assert [one["epoch"] for one in told] == list(range(1, 13))
    assert told[-1]["validation_loss"] < 0.8 * told[0]["validation_loss"]


def test_the_folder_is_a_language_model_for_text_only_training():
    said = describe_outcome(pretrain(small("epochs=1")))
    assert "next:  python scripts/train_text_only.py lm=lm" in said
    tokenizer, model = AutoTokenizer.from_pretrained("lm"), AutoModelForSeq2SeqLM.from_pretrained("lm")
    text = TEXTS[0].lower()
    ids = tokenizer(text.upper()).input_ids
    assert ids[-1] == tokenizer.eos_token_id == model.config.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert len(tokenizer) == model.config.vocab_size <= 400
    config = compose_config("train", TrainConfig, [*SMALL_DATA, *SMALL_LOOP, "device=cpu", "lm=lm"])
    folder, outcome = train(config, "text")
    assert outcome.state.step == 6
    trained = AutoTokenizer.from_pretrained(folder / "last")
    assert trained.get_vocab() == tokenizer.get_vocab()


def test_sentinels_survive_saving():
    pretrain(small("objective=denoise", "corruption_rate=0.15", "max_steps=1"))
    tokenizer = AutoTokenizer.from_pretrained("lm")
    assert len(tokenizer) <= 400
    sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    assert tokenizer("a <extra_id_0> house").input_ids.count(sentinel) == 1
    assert "extra_id" not in tokenizer.decode([sentinel], skip_special_tokens=True)


def test_case_is_kept_if_requested():
    pretrain(small("lowercase=false", "max_steps=1"))
    tokenizer = AutoTokenizer.from_pretrained("lm")
    assert tokenizer.decode(tokenizer("A Red Ball").input_ids, skip_special_tokens=True).strip() == "A Red Ball"


def test_excluded_texts_are_left_out_and_counted(monkeypatch):
    unwanted = [TEXTS[0].upper() + " !!", f"  {TEXTS[7].replace(' ', '   ')}.", "Nobody wrote this."]
    write_jsonl("exclude.jsonl", [{"references": unwanted}])
    seen = []
    monkeypatch.setattr(
        "close_transfer.pipelines.pretrain_lm._split_texts", lambda texts, *_: seen.extend(texts) or (texts, texts[:9])
    )
    outcome = pretrain(small("exclude=exclude.jsonl", "exclude_column=references", "max_steps=1"))
    keys = {normalize_text(text) for text in unwanted}
    num_left_out = sum(normalize_text(text) in keys for text in TEXTS)
    assert num_left_out >= 2
    assert seen == [text for text in TEXTS if normalize_text(text) not in keys]
    counts = outcome.summary["counts"]
    assert (counts["excluded"], counts["excluded_distinct"], counts["to_exclude"]) == (num_left_out, 2, 3)
    assert f"{num_left_out} excluded" in describe_outcome(outcome)


def test_texts_that_differ_only_in_case_punctuation_and_spaces():
    assert normalize_text('A "man" — in  Café, there!') == normalize_text("a man in CAFE\u0301 there")
    assert normalize_text("don't") == normalize_text("Dont")
    assert normalize_text("a man") != normalize_text("a woman")
    assert normalize_text("$5") != normalize_text("5")


def test_no_validation_text_is_trained_on():
    training, validation = _split_texts([*TEXTS, *(text.upper() + "!" for text in TEXTS)], 0.1, seed=0)
    assert len(training) + len(validation) == 2 * len(TEXTS)
    assert not {normalize_text(t) for t in training} & {normalize_text(t) for t in validation}
    assert len({normalize_text(t) for t in validation}) == pytest.approx(
        0.1 * len({*map(normalize_text, TEXTS)}), abs=1
    )


def test_corruption_is_drawn_anew_each_epoch(monkeypatch):
    seen = []
    call = SpanCorruptor.__call__

    def remember(self, ids, rng):
        read, written = call(self, ids, rng)
        seen.append((tuple(written.tolist()), tuple(read.tolist())))
        return read, written

    monkeypatch.setattr(SpanCorruptor, "__call__", remember)
    pretrain(small("epochs=2"))
    inputs = {}
    for text, read in seen:
        inputs.setdefault(text, set()).add(read)
    assert np.mean([len(reads) > 1 for reads in inputs.values()]) > 0.8


def test_same_seed_same_weights_other_seed_others():
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(small(f"output={name}", f"seed={seed}", "epochs=1"))
    assert weights("a") == weights("b")
    assert weights("a") != weights("c")


@pytest.mark.parametrize("stop_at", [1, 8, 9, 20])
def test_stopped_and_resumed_equals_never_stopped(stop_at, monkeypatch):
    settings = ["lm.config.dropout_rate=0.1", "epochs=3", "objective=denoise"]
    whole = pretrain(small(*settings, "output=whole"))
    with monkeypatch.context() as patched:
        act_before_steps(patched, lambda done, _: done == stop_at - 1 and os.kill(os.getpid(), signal.SIGTERM))
        stopped = pretrain(small(*settings, "output=parts"))
    assert stopped.exit_status == 128 + signal.SIGTERM
    assert stopped.summary["trained"]["step"] == stop_at < whole.summary["trained"]["step"]
    assert "resume=true" in describe_outcome(stopped)
    with pytest.raises(UserError, match=r"output=parts holds a model already.*resume=true"):
        pretrain(small(*settings, "output=parts"))
    with pytest.raises(UserError, match=r"other settings or data"):
        pretrain(small(*settings, "output=parts", "resume=true", "seed=5"))
    again = pretrain(small(*settings, "output=parts", "resume=true"))
    assert again.exit_status == 0
    assert weights("whole") == weights("parts")
    assert log_of("whole") == log_of("parts")
    assert whole.summary["trained"]["losses"] == again.summary["trained"]["losses"]
    left = {path.name for path in Path("parts").iterdir()}
    assert left == {path.name for path in Path("whole").iterdir()}
    assert not any(name.startswith((".", "state")) or name in ("checkpoints", "best", "last") for name in left)
    with pytest.raises(UserError, match=r"is finished\. Use it with lm=parts"):
        pretrain(small(*settings, "output=parts", "resume=true"))


def test_a_kill_between_saves_costs_the_steps_since_the_last(monkeypatch):
    pretrain(small("output=whole", "epochs=2"))

    class Killed(BaseException):
        pass

    def kill(done, model):
        if done == 10:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        act_before_steps(patched, kill)
        pretrain(small("output=parts", "epochs=2"))
    pretrain(small("output=parts", "epochs=2", "resume=true"))
    assert weights("whole") == weights("parts")


def test_several_files_of_all_kinds_are_one_corpus():
    write_jsonl("b.jsonl", [{"captions": ["one two", "three"]}, {"captions": "four"}])
    with gzip.open("c.csv.gz", "wt") as file:
        file.write("id,captions\n1,five\n2,\n")
    Path("d.txt").write_text("six\n\nseven\n")
    Path("e.json").write_text(
        json.dumps({"annotations": [{"image_id": 1, "caption": "eight"}, {"image_id": 1, "caption": " "}]})
    )
    paths = [Path(name) for name in ("b.jsonl", "c.csv.gz", "d.txt", "e.json")]
    corpus = read_corpus(paths, "captions", None, "captions", "error")
    assert corpus.texts == ["one two", "three", "four", "five", "six", "seven", "eight"]
    assert corpus.counts["empty"] == 3
    assert small("text=[texts.txt,d.txt]").text == ("texts.txt", "d.txt")


def test_long_texts_are_cut_and_counted_and_spelt_tokens_are_text(capsys):
    with open("texts.txt", "a") as file:
        file.write("a b c d " * 30 + "\n" + "</s> is no end here\n")
    outcome = pretrain(small("max_tokens=16", "max_steps=1"))
    assert outcome.summary["counts"]["cut"] >= 1
    assert "longer than max_tokens=16 and are cut there" in capsys.readouterr().out


def broken_gz():
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    Path("x.jsonl.gz").write_bytes(gzip.compress(rows.encode())[:-40])


@pytest.mark.parametrize(
    ("prepare", "overrides", "message"),
    [
        (None, ["text=no.txt"], r"text=no\.txt: there is no such file"),
        (None, ["text=x.pdf"], r"text=x\.pdf: cannot read \.pdf; allowed are"),
        (lambda: Path("x.txt").write_text(""), ["text=x.txt"], r"text=x\.txt: the file is empty"),
        (lambda: Path("x.txt").write_text("\n\n"), ["text=x.txt"], r"no text is left to train on \(2 empty"),
        (lambda: write_jsonl("x.jsonl", [{"text": "a"}, {"caption": "b"}]), ["text=x.jsonl"],
         r"x\.jsonl, line 2: field 'text' is missing; the fields here are 'caption'"),
        (lambda: write_jsonl("x.jsonl", [{"text": 7}]), ["text=x.jsonl"], r"x\.jsonl, line 1: field 'text' is a number"),
        (lambda: Path("x.jsonl").write_text('{"text": "a"}\n{"text"\n'), ["text=x.jsonl"], r"x\.jsonl, line 2: not valid JSON"),
        (lambda: Path("x.json").write_text('{"annotations": [{"image_id": 1}]}'), ["text=x.json"],
         r"x\.json, annotation 1: field 'caption' is missing"),
        (lambda: Path("x.txt").write_bytes(b"a\n\xff\xfe\n"), ["text=x.txt"], r"x\.txt, line 2: .* not UTF-8"),
        (broken_gz, ["text=x.jsonl.gz"], r"x\.jsonl\.gz.*(damaged|cut short)"),
        (None, ["exclude=no.txt"], r"exclude=no\.txt: there is no such file"),
        (None, ["exclude=texts.txt"], r"no text is left to train on \(0 empty, 0 unusable, \d+ excluded\)"),
        (None, ["device=gpu"], r"device=gpu is not a device\. Give auto"),
        (None, ["resume=true"], r"resume=true: there is no training at output=lm"),
        (None, ["output=texts.txt"], r"output=texts\.txt: is a file, not a folder"),
        (None, ["+lm.config.initializer_factor=1e38"], r"step \d+: the loss is .*Give a lower learning_rate"),
    ],
)  # fmt: skip
def test_errors_that_a_user_can_correct(prepare, overrides, message):
    if prepare:
        prepare()
    with pytest.raises(UserError, match=message):
        pretrain(small(*overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lm.config.num_layers=2", r"num_layers=2 and lm\.config\.num_decoder_layers=1.*the same number"),
        (
            "lm=t5-small",
            r"^lm=t5-small: has pretrained weights, but this command trains from scratch\. Give lm=t5-mini",
        ),
        ("corruption_rate=1", r"corruption_rate=1"),
        ("objective=bert", r"objective=bert"),
        ("text=[]", r"text"),
        ("text=???", r"^text: missing. Give text=VALUE"),
        ("output=???", r"^output: missing. Give output=VALUE"),
    ],
)
def test_settings_that_cannot_be_used(override, message):
    overrides = [one for one in SMALL_PRETRAINING if not (override == "lm=t5-small" and one.startswith("lm."))]
    with pytest.raises(UserError, match=message):
        compose_config("pretrain_lm", PretrainLmConfig, [*overrides, override])


def test_unusable_lines_are_skipped_and_counted_if_requested():
    write_jsonl("x.jsonl", [{"text": text} for text in TEXTS] + [{"text": 7}, {}])
    outcome = pretrain(small("text=x.jsonl", "on_bad_rows=skip", "max_steps=1"))
    assert outcome.summary["counts"]["unusable"] == 2
    assert "2 unusable lines" in describe_outcome(outcome)


def test_two_trainings_do_not_share_a_folder(monkeypatch):
    def start_another(done, model):
        with pytest.raises(UserError, match="another process trains in lm"):
            pretrain(small("max_steps=1"))

    act_before_steps(monkeypatch, start_another)
    assert pretrain(small("max_steps=1")).exit_status == 0
