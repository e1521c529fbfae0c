"""Tests with folders of models whose Python or pickles would create a file: no loader runs them or asks."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from close_transfer import TransferModel
from close_transfer.config.language_models import PretrainedLM
from close_transfer.core.errors import UserError
from close_transfer.encoders.build import load_encoder
from close_transfer.encoders.open_clip_loading import PICTUREBOOK_FOLDER
from close_transfer.models.language_models import build_language_model
from tests.commands import run_command
from tests.conftest import REPOSITORY, SMALL_DATA, SMALL_LOOP
from tests.families import tiny_family
from tests.hostile import HOSTILE, check_terminal

TEXTS = ["a red dog sleeps in the snow", "two cats on the grass"]
CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
class Config(GPT2Config): model_type = "other"
class Model(GPT2LMHeadModel): config_class = Config
class Tokens(PreTrainedTokenizerFast): pass
"""
REFUSED = "needs Python code of others, which close-transfer never runs"


class Bomb:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(Path.cwd() / "ran"),)


@pytest.fixture(autouse=True)
def _yes_to_every_question(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    yield
    assert not Path("ran").exists(), "code of the folder was run"
    assert sys.stdin.tell() == 0, "a question was asked"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def add_code(folder, *files):
    """Add Python to a folder, and name it in these of its files."""
    (folder / "code.py").write_text(CODE.format(mark=str(Path.cwd() / "ran")))
    if "model" in files:
        names = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoModelForCausalLM": "code.Model"}
        change(folder / "config.json", model_type="other", auto_map=names)
    if "tokenizer" in files:
        names = {"AutoTokenizer": ["code.Tokens", "code.Tokens"]}
        change(folder / "tokenizer_config.json", tokenizer_class="Tokens", auto_map=names)
    return folder


def make_lm(*files):
    tiny_family("gpt2", Path("lm"), TEXTS)
    return add_code(Path("lm"), *files)


def make_clip(**text_settings):
    clip = Path(shutil.copytree(PICTUREBOOK_FOLDER, "clip"))
    (clip / "checksums.json").unlink()  # as in a folder that somebody else made
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= text_settings
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    return clip


def load_lm(folder):
    lora = {"rank": 2, "alpha": 2, "dropout": 0, "layers": None}
    settings = {
        "tuning": "full",
        "lora": lora,
        "dtype": "float32",
        "format": "auto",
        "learning_rate": 1e-3,
        "warmup_steps": 0,
    }
    return build_language_model(
        PretrainedLM.model_validate({"kind": "pretrained", "name": str(folder), **settings}), TEXTS
    )


def load_clip(folder, **settings):
    from close_transfer.config.components import OpenClipConfig

    fields = {
        "pretrained": None,
        "weights": None,
        "tokenizer": None,
        "features": "pooled",
        "precision": "fp32",
        "seed": 0,
        "batch_size": 8,
    }
    return load_encoder(
        OpenClipConfig.model_validate({"kind": "open_clip", "model": f"local-dir:{folder}", **fields, **settings}),
        "cpu",
    )


def test_language_model_with_code():
    with pytest.raises(UserError, match=REFUSED):
        load_lm(make_lm("model"))


def test_known_language_model_loads_without_the_code_beside_it():
    folder = make_lm("tokenizer")
    change(folder / "config.json", auto_map={"AutoModelForCausalLM": "code.Model"})
    assert load_lm(folder).model.config.model_type == "gpt2"


def test_training_command_refuses_a_model_with_code():
    make_lm("model")
    given = ["task=captioning", "lm=lm", *SMALL_DATA, *SMALL_LOOP, "device=cpu", "output=run"]
    ended = run_command("train_text_only", *given)
    assert (ended.status, "Traceback" in ended.err) == (2, False)
    assert REFUSED in ended.err
    assert not Path("run").exists()


@pytest.mark.parametrize("arguments", [{"trust_remote_code": True}, {"trust_remote_code": "yes"}, {}])
def test_tokenizer_of_a_clip(arguments):
    clip = add_code(make_clip(tokenizer_kwargs=arguments), "tokenizer")
    with pytest.raises(UserError, match=REFUSED):
        load_clip(clip)


def test_tokenizer_given_for_a_clip():
    clip = make_clip()
    other = add_code(Path(shutil.copytree(clip, "other")), "tokenizer")
    with pytest.raises(UserError, match=REFUSED):
        load_clip(clip, tokenizer=str(other))


def test_text_model_that_a_clip_names():
    lm = make_lm("model").absolute()
    with pytest.raises(UserError, match=REFUSED):
        load_clip(make_clip(hf_model_name=str(lm)))


def test_saved_model_and_its_encoder(finished_runs):
    saved = Path("saved")
    TransferModel.from_pretrained(finished_runs / "captioning" / "latest", "cpu").save_pretrained(saved)
    (saved / "checksums.json").unlink()
    clip = add_code(make_clip(tokenizer_kwargs={"trust_remote_code": True}), "tokenizer").absolute()
    encoder = json.loads((saved / "config.json").read_text())["encoder"]
    encoder["config"]["model"] = f"local-dir:{clip}"
    change(saved / "config.json", encoder=encoder)
    with pytest.raises(UserError, match=REFUSED):
        TransferModel.from_pretrained(saved, "cpu").encoder.encode_texts(["a dog"])
    add_code(saved, "tokenizer")
    change(saved / "config.json", auto_map={"AutoConfig": "code.Config", "AutoModel": "code.Model"})
    with pytest.raises(UserError, match=REFUSED):
        TransferModel.from_pretrained(saved, "cpu")


def load_in_textgen(folder):
    from textgen.config import LocalSettings
    from textgen.generators.local import LocalModel
    from textgen.generators.openai_api import Parameters

    settings = LocalSettings.model_construct(device="cpu", dtype="float32", batch_size=1)
    LocalModel(str(folder), settings, Parameters.__new__(Parameters))


def test_local_model_of_textgen():
    load = load_in_textgen
    folder = make_lm("model")
    with pytest.raises(UserError, match=REFUSED):
        load(folder)
    change(folder / "config.json", model_type="gpt2", auto_map={})
    load(folder)
    pickled(folder)
    with pytest.raises(UserError, match="its weights are pickled"):
        load(folder)


def pickled(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Bomb()}, folder / "pytorch_model.bin")
    return folder


def test_pickled_language_model():
    with pytest.raises(UserError, match=r"its weights are pickled \(pytorch_model.bin\)"):
        load_lm(pickled(make_lm()))


def test_code_of_an_attention_implementation():
    folder = make_lm()
    change(folder / "config.json", attn_implementation="someone/attention")
    with pytest.raises(UserError, match=REFUSED):
        load_lm(folder)


def test_adapter_that_names_another_model():
    folder = make_lm()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "other"}))
    with pytest.raises(UserError, match="is an adapter of peft"):
        load_lm(folder)


def test_pickled_weights_of_a_clip():
    clip = make_clip()
    (clip / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": {"logit_scale": Bomb()}}, clip / "open_clip_pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_clip(clip)


def test_pickled_weights_of_timm():
    from close_transfer.config.components import TimmConfig

    torch.save({"weight": Bomb()}, "weights.pt")
    settings = {
        "kind": "timm",
        "model": "resnet10t",
        "pretrained": "yes",
        "weights": "weights.pt",
        "features": "pooled",
        "image_size": None,
        "precision": "fp32",
    }
    with pytest.raises(UserError, match="cannot be loaded into resnet10t"):
        load_encoder(TimmConfig.model_validate({**settings, "seed": 0, "batch_size": 8}), "cpu")


@pytest.mark.slow
def test_names_of_tensors_do_nothing_on_the_terminal():
    make_lm()
    tensors = load_file("lm/model.safetensors") | {HOSTILE.replace("/", ""): torch.zeros(1)}
    save_file(tensors, "lm/model.safetensors", metadata={"format": "pt"})
    program = "from close_transfer.core.console import show_log; show_log()\nfrom close_transfer.models import pretrained as p\n"
    program += "p.load_pretrained_model('lm', 'float32')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "owned" in ended.stderr
    check_terminal(ended.stderr)


# Loaders of the libraries, and the argument that makes each safe.
SAFE = {"from_pretrained": "trust_remote_code", "from_config": "trust_remote_code"}
SAFE |= dict.fromkeys(("create_model_from_pretrained", "load_checkpoint"), "weights_only")
SAFE |= {"load": "weights_only"}
OWN = {"TransferModel", "TransferNetwork", "TransferConfig"}


def find_unsafe_calls(source: str) -> list[str]:
    """Return the calls of loaders that leave it to a file whether code is run."""
    unsafe = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, owner = node.func.attr, ast.unparse(node.func.value)
        if name not in SAFE or owner in OWN or (name == "load" and owner != "torch"):
            continue
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        is_safe = given.get(SAFE[name]) is (SAFE[name] == "weights_only")
        is_model = name == "from_pretrained" and ("Model" in owner or owner in ("family", "super()"))
        if not is_safe or (is_model and given.get("use_safetensors") is not True):
            unsafe.append(f"line {node.lineno}: {owner}.{name}")
    return unsafe


def test_every_call_of_a_loader_is_safe():
    folders = ("close_transfer", "textgen", "studies", "scripts", "benchmarks")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    unsafe = {str(path): calls for path in files if (calls := find_unsafe_calls(path.read_text()))}
    assert unsafe == {}
    assert find_unsafe_calls("AutoTokenizer.from_pretrained(x)\ntorch.load(x)\nAutoModel.from_config(c)") != []


def test_open_clip_tokenizers_are_loaded_in_one_place():
    users = [
        path.name
        for path in (REPOSITORY / "close_transfer").rglob("*.py")
        if {"get_tokenizer", "HFTokenizer"}
        & {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    ]
    assert users == ["open_clip_folder.py"]
