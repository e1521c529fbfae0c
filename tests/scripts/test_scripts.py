"""Commands as users type them: training in a separate process, the others in this one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.conftest import REPOSITORY, SMALL, SMALL_DATA
from tests.data.sources.made import official, write
from tests.pipelines.test_train_captioner import SMALL_CAPTIONER
from tests.pipelines.test_train_image_encoder import shrink

SCRIPTS = REPOSITORY / "scripts"


def run(script, *arguments):
    """Run a script in the current folder, and return the finished process."""
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    return subprocess.run(command, text=True, capture_output=True, env=os.environ, timeout=300)


def test_train_evaluate_predict_with_the_words_a_user_needs():
    trained = run("train_text_only.py", "noise=0.1", *SMALL)
    assert trained.returncode == 0, trained.stderr
    assert "text only, no image is opened" in trained.stdout
    assert "example/s" in trained.stderr
    assert "loss=" in trained.stderr
    folder = re.search(r"run: +(\S+)", trained.stdout)[1]
    following = re.search(r"next: python scripts/(.*)", trained.stdout)[1].split()
    evaluated = run_command(following[0].removesuffix(".py"), *following[1:], "num_bootstrap=20")
    assert evaluated.status == 0, evaluated.err
    results = json.loads(Path(folder, "eval-test-image", "results.json").read_text())
    assert f"{results['metrics']['CIDEr']:6.1f}" in evaluated.out
    assert Path(folder, "eval-test-image", "report.html").is_file()
    assert Path("runs/captioning/latest").resolve() == Path(folder).resolve()


def test_error_without_a_run_names_the_training_command():
    finished = run_command("eval_image", "task=snli-ve")
    assert finished.status == 2
    assert finished.out == ""
    assert len(finished.err.strip().splitlines()) == 1
    assert "python scripts/train_text_only.py task=snli-ve" in finished.err


def test_mistakes_are_sentences_and_exit_with_2():
    finished = run("train_text_only.py", "nosie=0.1", "task=snli")
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert "Did you mean" in finished.stderr


@pytest.mark.slow
def test_demo_compares_the_method_with_its_bounds():
    finished = run_command("demo", "task=vqa", *SMALL)
    assert finished.status == 0, finished.err
    table = finished.out[finished.out.rindex("vqa on ") :]
    for system in ("trained on images, no noise", "trained on text, no noise", "trained on text, noise 0.04"):
        assert system in table
    page = Path(re.search(r"report: (\S+)", table)[1]).read_text()
    assert "trained on images, no noise" in page


def test_demo_refuses_a_folder_for_its_three_runs_before_it_trains():
    finished = run_command("demo", "output=one")
    assert finished.status == 2
    assert "Give runs=FOLDER" in finished.err
    assert not Path("one").exists()


def test_the_prefix_is_read_as_words_and_words_are_scored_by_kind(finished_runs):
    read = run_command("inspect_prefix", f"runs={finished_runs}", "num_images=2", "num_words=3")
    assert read.status == 0, read.err
    lines = read.out.splitlines()
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == ["test image 1", "test image 2"]
    tokens = [line for line in lines if line.startswith("  token ")]
    assert len(tokens) == 2 * 4
    assert all(len(re.findall(r"-?\d\.\d\d", line)) == 3 for line in tokens)
    baseline = run_command("baseline", "output=nearest", "num_bootstrap=20", *SMALL_DATA)
    assert baseline.status == 0, baseline.err
    scored = run_command("score_by_word_type", "evaluations=[nearest]")
    assert scored.status == 0, scored.err
    assert "| nearest | " in scored.out
    nothing = run_command("score_by_word_type", "evaluations=nothing")
    assert nothing.status == 2
    assert "evaluations=nothing matches no results.json" in nothing.err


@pytest.mark.slow
def test_picturebook_clip_trains_and_serves(tmp_path):
    settings = ["steps=3", "batch_size=16", "num_scenes=64", "num_test=20", "image_size=32", "warmup_steps=1"]
    finished = run_command("train_picturebook_clip", *settings, f"output={tmp_path / 'clip'}")
    assert finished.status == 0, finished.err
    assert "paired_cosine" in finished.out
    trained = run_command("train_text_only", f"clip.model=local-dir:{tmp_path / 'clip'}", *SMALL)
    assert trained.status == 0, trained.err


def test_contact_sheet():
    finished = run_command("draw_picturebook", "rows=1", "columns=2", "output=sheet.png")
    assert finished.status == 0, finished.err
    assert Path("sheet.png").is_file()


def readme_commands():
    """Return every python command in the code blocks of the README, then of the page with the other commands."""
    text = "\n".join((REPOSITORY / name).read_text() for name in ("README.md", "docs/commands.md"))
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.DOTALL)
    lines = [re.split(r"\s#", line)[0].strip() for block in blocks for line in block.splitlines()]
    # The second page repeats some of the first, so that each page is complete.
    return list(dict.fromkeys(line for line in lines if line.startswith("python scripts/")))


def small(command):
    """Return script and arguments of a command, with fewer examples."""
    import shlex

    script, *arguments = shlex.split(command)[1:]
    name = Path(script).name
    own_data = any(argument.startswith("data=") for argument in arguments)
    if name == "train_captioner.py":
        arguments += [setting for setting in SMALL_CAPTIONER if not setting.startswith("output=")]
    elif name == "train_image_encoder.py":
        arguments += shrink(arguments)
    elif name == "train_text_tower.py":
        sizes = ("output=", *(() if "image_tower=trained" in arguments else ("captioner.depth=",)))
        arguments += [setting for setting in SMALL_CAPTIONER if not setting.startswith(sizes)]
    elif name == "probe_encoder.py":
        arguments += [*SMALL_DATA, "few_shot.shots=[1]", "attention_pool.steps=2", "num_bootstrap=20"]
    elif name == "eval_composition.py":
        arguments += ["num_order=4", "num_per_swap=2", "num_twins_per_swap=2", "num_bootstrap=20"]
    elif name.startswith("train_") or name == "demo.py":
        arguments += [o for o in SMALL if not (own_data and o in SMALL_DATA)]
    if name == "eval_image.py":
        arguments.append("num_bootstrap=20")
    return name, arguments


def test_readme_names_the_two_commands():
    text = (REPOSITORY / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text
    assert "python scripts/train_text_only.py noise=0.1" in readme_commands()
    assert "python scripts/eval_image.py task=snli-ve" in readme_commands()


@pytest.mark.slow
def test_readme_commands_work_in_their_order():
    from PIL import Image

    Path("captions.jsonl").write_text(
        "".join(json.dumps({"caption": f"a dog number {i}", "scene": i // 2}) + "\n" for i in range(20))
    )
    write("captions_val2017.json", official({1: ["a dog runs", "a brown dog"], 2: ["two cats", "cats on a mat"]}))
    write("captions.json", [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "two cats on a mat"}])
    Path("photos").mkdir()
    Image.new("RGB", (80, 60), "red").save("photos/one.jpg")
    Image.new("RGB", (80, 60), "red").save("drawing.jpg")
    for command in readme_commands():
        if any(
            one in command
            for one in ("data=coco", "data=nocaps", "data=huggingface", "experiment=", "study=", "study_captioners")
        ):  # needs data, or an hour
            continue
        if "picturebook_clip" in command or "ViT" in command or "lm=t5-small" in command:
            continue
        if "train_on_images.py clip=captioner" in command:  # the Python example reads texts with the latest run
            continue
        finished = run(*[part for item in [small(command)] for part in (item[0], *item[1])])
        assert finished.returncode == 0, f"{command}\n{finished.stderr[-2000:]}"
    (lines,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    finished = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) == lines.count("print(")
