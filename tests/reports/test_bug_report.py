"""Bug reports: versions and settings, without local paths and keys."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from close_transfer.cli import compose_config
from close_transfer.config.report_bug import ReportBugConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.control_characters import escape_controls
from close_transfer.core.errors import UserError
from close_transfer.pipelines.report_bug import main
from close_transfer.reports.bug_report import format_bug_report
from close_transfer.reports.redaction import mask_secrets
from tests import hostile

# As shown, none is a key.
KEYS = ["sk-proj-abcdefgh12345678", "hf_abcdefghijklmnop", "ghp_abcdefghijklmnop", "AKIAABCDEFGHIJKLMNOP"]


def read_settings(report):
    return yaml.safe_load(report.split("```yaml\n")[1].split("```")[0])


def test_versions_and_machine_are_named():
    report = format_bug_report()
    for package in ("torch", "transformers", "open_clip_torch"):
        assert f"- {package}: {version(package)}" in report
    assert f"- python: {platform.python_version()}" in report
    assert "- CUDA: " in report
    assert "```" not in report


def test_paths_and_keys_of_the_environment_do_not_leak(monkeypatch):
    for name, key in zip(("OPENAI_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "AWS_ACCESS_KEY_ID"), KEYS, strict=True):
        monkeypatch.setenv(name, key)
    monkeypatch.setenv("CLOSE_TRANSFER_DATA", "/home/someone/secret-project/data")
    report = format_bug_report()
    assert "- CLOSE_TRANSFER_DATA: set" in report
    for private in (*KEYS, "someone", "secret-project", platform.node(), str(Path.home()), str(Path.cwd())):
        assert not private or private not in report


def test_paths_and_keys_in_settings_do_not_leak():
    arguments = [
        "data=file",
        "data.path=/home/some one/secret-project/captions.jsonl",
        f"data.prompt='see /home/someone/secret-project/notes.txt or https://me:pass@example.org/x, {KEYS[0]}'",
        "data.text_column=caption",
        "clip=open_clip",
        "clip.weights=~someone/secret-project/clip.safetensors",
        f"runs={Path.cwd()}/secret-project",
        "output=/home/someone/secret-project/run",
        "exclude_overlap_with=[test,/home/someone/secret-project/other.jsonl]",
    ]
    config = compose_config("train", TrainConfig, arguments)
    settings = config.model_dump(mode="json")
    settings["unknown"] = {
        "a": ["/home/some one/secret-project/b"],
        "c": KEYS,
        "d": "C:\\Users\\someone\\secret-project\\e",
    }
    report = format_bug_report(settings)
    for private in (*KEYS, "some one", "someone", "secret-project", "me:pass", str(Path.cwd()), os.sep + "home"):
        assert private not in report
    shown = read_settings(report)
    assert shown["data"]["path"] == "captions.jsonl"
    assert shown["data"]["prompt"] == "see notes.txt or https://example.org/x, [key]"
    assert shown["exclude_overlap_with"] == ["test", "other.jsonl"]
    assert shown["unknown"] == {"a": ["b"], "c": ["[key]"] * 4, "d": "e"}


@pytest.mark.parametrize(
    "text", ["1/2 of it", "a and/or b", "{question}", "https://arxiv.org/abs/2211.09778", "ViT-B/32", "t5-base"]
)
def test_texts_that_are_not_paths_are_unchanged(text):
    assert mask_secrets(text) == text


def test_the_settings_of_a_run_are_shown(finished_runs, capsys):
    main(ReportBugConfig(run=str(finished_runs / "vqa" / "latest")))
    report = capsys.readouterr().out
    settings = read_settings(report)
    assert settings["task"]["name"] == "vqa" and settings["seed"] == 0
    assert str(finished_runs) not in report and str(Path.cwd()) not in report
    with pytest.raises(UserError, match="run=nowhere: there is no run"):
        main(ReportBugConfig(run="nowhere"))


def test_no_setting_ends_the_block_of_settings():
    text = f"a\n```\n{hostile.HOSTILE}\n```\n<b>"
    report = format_bug_report({"data": {"prompt": text, "name": hostile.HOSTILE}})
    hostile.check_markdown(escape_controls(report))
    assert report.rstrip().endswith("````")
