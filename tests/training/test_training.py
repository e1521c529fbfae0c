import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from close_transfer.core.errors import UserError
from close_transfer.data.picturebook import drawing
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.embeddings import EmbeddingMatrix
from close_transfer.pipelines.train import train
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.train_step import NonFiniteError
from tests.conftest import SMALL_DATA, SMALL_LOOP, act_before_steps, small_config


def weights(folder, which="last"):
    return (Path(folder) / which / "model.safetensors").read_bytes()


def scalars(folder):
    """Return the values that TensorBoard shows: (step, value) by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.parametrize("task", ["captioning", "captioning-multi", "snli-ve", "vqa"])
def test_no_image_is_opened_drawn_or_encoded_in_training(task, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("an image was touched")

    monkeypatch.setenv("CLOSE_TRANSFER_CACHE", "empty")  # no vector of an earlier test may stand in
    monkeypatch.setattr(Image, "open", forbidden)
    monkeypatch.setattr(Image, "new", forbidden)
    monkeypatch.setattr(drawing, "draw_scene", forbidden)
    monkeypatch.setattr("close_transfer.data.sources.picturebook.draw_scene", forbidden)
    monkeypatch.setattr(OpenClipEncoder, "encode_images", forbidden)
    monkeypatch.setattr("open_clip.CLIP.encode_image", forbidden)
    _, outcome = train(small_config(f"task={task}"), "text")
    assert outcome.state.step == 6
    with pytest.raises(AssertionError, match="an image was touched"):
        train(small_config(f"task={task}", "seed=1"), "image")


def test_the_loss_falls():
    folder, _ = train(small_config("train.max_steps=200", "lm.learning_rate=0.01", "lm.warmup_steps=5"), "text")
    losses = [entry["loss"] for entry in RunFolder(folder).read_log() if "loss" in entry]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("task", ["captioning-multi", pytest.param("vqa", marks=pytest.mark.slow)])
def test_stopped_and_resumed_equals_never_stopped_to_the_last_bit(task, monkeypatch):
    settings = [f"task={task}", "lm.config.dropout_rate=0.1", "train.max_steps=9", "train.num_validations=3"]
    whole, _ = train(small_config(*settings, "output=whole"), "text")
    with monkeypatch.context() as patched:
        act_before_steps(patched, lambda done, _: done == 3 and os.kill(os.getpid(), signal.SIGINT))
        parts, outcome = train(small_config(*settings, "output=parts"), "text")
    assert outcome.stopped_early
    assert outcome.state.step == 4
    time.sleep(1.1)  # TensorBoard tells files of one process and one second apart by a counter, which it sorts as text
    again, outcome = train(small_config(*settings, "output=parts", "resume=latest"), "text")
    assert not outcome.stopped_early
    assert again.resolve() == parts.resolve()
    for which in ("last", "best"):
        assert weights(whole, which) == weights(parts, which)
    assert (whole / "last" / "optimizer.safetensors").read_bytes() == (
        parts / "last" / "optimizer.safetensors"
    ).read_bytes()
    assert RunFolder(whole).read_log() == RunFolder(parts).read_log()
    assert scalars(whole) == scalars(parts)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)])
def test_signals_save_and_set_the_exit_status(monkeypatch, number, status):
    act_before_steps(monkeypatch, lambda done, _: done == 1 and os.kill(os.getpid(), number))
    folder, outcome = train(small_config(), "text")
    assert outcome.stopped_early
    assert outcome.exit_status == status
    assert RunFolder(folder).find_checkpoint("last").name == "step-000002"


def test_same_seed_same_weights_other_seed_others():
    first, _ = train(small_config("output=a"), "text")
    second, _ = train(small_config("output=b"), "text")
    other, _ = train(small_config("output=c", "seed=1"), "text")
    assert weights(first) == weights(second)
    assert weights(first) != weights(other)


def test_accumulation_gives_the_step_of_the_whole_batch():
    whole, _ = train(small_config("output=a"), "text")
    parts, _ = train(small_config("output=b", "train.gradient_accumulation=4"), "text")
    one, other = (load_file(folder / "last" / "model.safetensors") for folder in (whole, parts))
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=2e-4, rtol=2e-3)


def test_a_last_batch_of_fewer_rows_than_parts_gives_the_step_of_the_whole_batch():
    # 200 examples in batches of 198 leave 2 for the last, and three parts.
    settings = ["train.batch_size=198", "lm.config.dropout_rate=0", "train.max_steps=4"]
    whole, parts = (
        RunFolder(
            train(small_config(*settings, f"output=run{number}", f"train.gradient_accumulation={number}"), "text")[0]
        )
        for number in (1, 3)
    )
    assert len(whole.read_log()) == len(parts.read_log()) == 6
    for one, other in zip(whole.read_log(), parts.read_log(), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_before_the_update(monkeypatch):
    gather = EmbeddingMatrix.gather

    def broken(self, rows):
        vectors = gather(self, rows)
        if broken.calls == 3:
            vectors[0] = np.nan
        broken.calls += 1
        return vectors

    broken.calls = 0
    monkeypatch.setattr(EmbeddingMatrix, "gather", broken)
    models, before = {}, {}

    def remember(number, model):
        models[number] = model
        before[number] = {name: p.detach().clone() for name, p in model.named_parameters()}

    act_before_steps(monkeypatch, remember)
    with pytest.raises(
        NonFiniteError,
        match=r"step 4: the loss is nan .*Lower train\.learning_rate.*the examples of this step: train-\d+#\d",
    ):
        train(small_config("train.num_validations=1"), "text")
    for name, value in models[3].named_parameters():
        assert torch.equal(value, before[3][name])


def test_nothing_is_pickled():
    folder, _ = train(small_config("train.tensorboard=false"), "text")
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jsonl", ".yaml"}


def test_best_and_last_are_kept_and_nothing_else():
    folder, outcome = train(small_config("train.num_validations=6"), "text")
    kept = {path.name for path in (folder / "checkpoints").iterdir()}
    assert kept == {RunFolder(folder).find_checkpoint(which).name for which in ("best", "last")}
    assert f"step-{outcome.state.best_step:06d}" in kept
    logged = [e["validation_loss"] for e in RunFolder(folder).read_log() if "validation_loss" in e]
    assert min(logged) == outcome.state.best_loss


def test_tensorboard_gets_the_same_numbers():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = train(small_config(), "text")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    logged = {e["step"]: e["loss"] for e in RunFolder(folder).read_log() if "loss" in e}
    assert {e.step: pytest.approx(e.value, rel=1e-5) for e in events.Scalars("training/loss")} == logged


def test_validation_draws_from_all_examples_and_says_so(capsys, monkeypatch):
    parts, seen = TokenizedExamples.make_parts, []

    def told(self, rows, *others):
        if len(self) == 50:  # 10 scenes of 5 captions
            seen.append(rows.tolist())
        return parts(self, rows, *others)

    monkeypatch.setattr(TokenizedExamples, "make_parts", told)
    settings = ["train.max_steps=2", "train.max_val_examples=12"]
    train(small_config(*settings, "output=a"), "text")
    assert "12 of 50 for validation" in capsys.readouterr().out
    assert len(seen) == 2
    assert seen[0] == seen[1], "the same at every validation"
    assert len(set(seen[0])) == 12
    assert max(seen[0]) >= 25, "not the first ones"
    train(small_config(*settings, "output=b", "seed=1"), "text")
    assert seen[2] != seen[0]
    seen.clear()
    capsys.readouterr()
    train(small_config("train.max_steps=1", "train.max_val_examples=50", "output=c"), "text")
    assert ", 50 for validation" in capsys.readouterr().out
    assert [row for rows in seen for row in rows] == list(range(50))


def test_a_limit_on_the_epoch_draws_anew_in_each(monkeypatch):
    parts, drawn = TokenizedExamples.make_parts, []

    def remember(self, rows, *others):
        if len(self) == 200:  # 40 scenes of 5 captions: not those of validation
            drawn.append(set(rows.tolist()))
        return parts(self, rows, *others)

    monkeypatch.setattr(TokenizedExamples, "make_parts", remember)
    limits = ["train.max_steps=null", "train.epochs=3", "train.max_examples_per_epoch=150", "train.batch_size=150"]
    train(small_config(*limits, "train.num_validations=1"), "text")
    assert [len(epoch) for epoch in drawn] == [150, 150, 150]
    assert drawn[0] != drawn[1] != drawn[2]
    assert drawn[0] & drawn[1], "a new draw, not the rest of the first"


def test_folders_of_runs_and_latest():
    first, _ = train(small_config("train.max_steps=1"), "text")
    second, _ = train(small_config("train.max_steps=1"), "image")
    assert first.parent == Path("runs/captioning") == second.parent
    assert first != second
    assert Path("runs/captioning/latest").resolve() == second.resolve()
    assert json.loads((first / "facts.json").read_text())["data_regime"] == "T0"
    assert json.loads((second / "facts.json").read_text())["data_regime"] == "T4"
    with pytest.raises(UserError, match="holds a run already"):
        train(small_config(f"output={first}"), "text")


def test_resuming_needs_a_run_and_the_same_settings():
    with pytest.raises(UserError, match=r"resume=latest: there is no run at"):
        train(small_config("resume=latest"), "text")
    train(small_config("train.max_steps=1", "output=a"), "text")
    with pytest.raises(UserError, match=r"other settings \(seed was 0 and is 3\). Give the same ones"):
        train(small_config("train.max_steps=1", "output=a", "resume=latest", "seed=3"), "text")


def noise_of(folder):
    return json.loads((folder / "last" / "config.json").read_text())["noise"]["std"]


@pytest.mark.parametrize(
    ("task", "expected"), [("captioning", 0.1), ("captioning-multi", 0.04), ("snli-ve", 0.08), ("vqa", 0.04)]
)
def test_task_noise_serves_text_training_only(task, expected):
    settings = [f"task={task}", "train.max_steps=1"]
    text, _ = train(small_config(*settings, "output=text"), "text")
    assert noise_of(text) == expected
    images, _ = train(small_config(*settings, "output=images"), "image")
    assert noise_of(images) == 0
    asked, _ = train(small_config(*settings, "output=asked", "noise=0.05"), "image")
    assert noise_of(asked) == 0.05


def test_the_plan_is_printed_before_training(capsys):
    train(small_config("train.max_steps=1", "noise=0.1"), "text")
    said = capsys.readouterr().out
    for part in ("captioning", "picturebook: 40 scenes, 200 training examples", "no image is opened", "128 dimensions",
                 "0.1 per coordinate (variance 0.01, length 1.13, cosine 0.66 at width 128)", "t5-mini",
                 "cpu", "runs/captioning/"):  # fmt: skip
        assert part in said, part


def test_texts_longer_than_the_language_model_are_refused_before_training():
    from close_transfer.cli import compose_config
    from close_transfer.config.train import TrainConfig

    given = [*SMALL_DATA, *SMALL_LOOP, "device=cpu", "lm=gpt2-mini", "lm.vocab_size=400", "lm.config.n_embd=32"]
    with pytest.raises(UserError, match=r"has 50 positions, .*may take 52\. Give task\.max_target_tokens, .*mapper"):
        train(compose_config("train", TrainConfig, [*given, "lm.config.n_positions=50"]), "text")
    folder, _ = train(compose_config("train", TrainConfig, [*given, "lm.config.n_positions=52"]), "text")
    assert (folder / "last").is_dir()
