"""Model cards: sentences and tags that fit the model, without local paths."""

import ast
import json
import re
from pathlib import Path

import pytest

from close_transfer import TransferModel
from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core import pages
from close_transfer.models.network import TransferConfig
from close_transfer.pipelines.train import train
from close_transfer.reports.model_card import build_model_card, format_licence
from close_transfer.reports.redaction import redact, redact_config
from tests import hostile
from tests.conftest import SMALL_LOOP
from tests.families import tiny_family


def config(**changed):
    given = {
        "encoder": {"name": "ViT-B-32 (openai)", "dim": 512, "config": {"kind": "open_clip", "model": "ViT-B-32"}},
        "adapter": [{"name": "gaussian"}],
        "noise": {"std": 0.1},
        "task": {"name": "captioning"},
        "lm": {"model_type": "t5"},
    }
    return TransferConfig(**given | changed)


def first_sentence(card):
    return card.text.split("\n\n")[1].split(" Made with")[0]


BLIND = [{"name": "blind"}]
LINEAR = [{"name": "linear"}, {"name": "gaussian"}]


@pytest.mark.parametrize(
    ("changed", "fed", "said", "not_said", "tag"),
    [
        ({}, "text", "on the text vectors of a frozen encoder, ViT-B-32 (openai), with added noise", "image vectors", "text-only-training"),
        ({"noise": {"std": 0.0}}, "text", "without added noise", "with added noise", "text-only-training"),
        ({"data_regime": "T1"}, "text", "statistics of unpaired images", "no image was seen", None),
        ({"data_regime": "T4", "adapter": LINEAR}, "text", "statistics of image-text pairs", "image vectors", None),
        ({"data_regime": "T4", "noise": {"std": 0.0}}, "image", "on the image vectors", "text vectors", "trained-on-images"),
        ({"data_regime": "T4", "noise": {"std": 0.0}}, None, "on the image vectors", "text vectors", "trained-on-images"),
        ({"adapter": BLIND}, "text", "without seeing the image", "text vectors", "blind-baseline"),
        ({"adapter": BLIND, "data_regime": "T4"}, "image", "without seeing the image", "image vectors", "blind-baseline"),
    ],
)  # fmt: skip
def test_the_first_sentence_and_the_tags_follow_what_training_saw(changed, fed, said, not_said, tag):
    card = build_model_card(config(**changed), {"facts": {"input_modality": fed}} if fed else {}, "x/y", None)
    assert said in first_sentence(card) and not_said not in first_sentence(card)
    known = {"text-only-training", "trained-on-images", "blind-baseline"}
    assert known.intersection(card.data.tags) == ({tag} if tag else set())
    assert changed.get("data_regime", "T0") in card.data.tags and "clip" in card.data.tags


def test_only_clip_encoders_are_tagged_as_clip():
    other = config(encoder={"name": "beit", "dim": 8, "config": {"kind": "timm", "model": "beit"}})
    assert "clip" not in build_model_card(other, {}, "x/y", None).data.tags


def test_the_card_states_uses_and_a_name_that_can_be_loaded():
    card = build_model_card(config(), {}, "someone/captions", None).text
    assert "## Intended use" in card and "## Out-of-scope use" in card
    assert 'from_pretrained("someone/captions")\n' in card
    assert (
        'from_pretrained("captioner")  # or the path of this folder\n'
        in build_model_card(config(), {}, "captioner", None).text
    )


def test_the_card_warns_of_picturebook_data_and_encoder():
    drawn = config(encoder={"name": "picturebook", "dim": 128, "config": {"kind": "open_clip", "model": "picturebook"}})
    by_encoder = build_model_card(drawn, {"settings": {"data": {"name": "file"}}}, "x/y", None).text
    assert "Its encoder is Picturebook's" in by_encoder and "trained on Picturebook" not in by_encoder
    by_data = build_model_card(config(), {"settings": {"data": {"name": "picturebook"}}}, "x/y", None).text
    assert "Its encoder is" not in by_data and "trained on Picturebook" in by_data


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (None, {}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("cc-by-nc-4.0", {"license": "cc-by-nc-4.0"}),
        ("Acme Research Licence 2", {"license": "other", "license_name": "acme-research-licence-2"}),
    ],
)
def test_licences_unknown_to_the_hub_become_other(given, fields):
    assert format_licence(given) == fields
    data = build_model_card(config(), {}, "x/y", given).data.to_dict()
    assert {key: data[key] for key in ("license", "license_name") if key in data} == fields


@pytest.fixture(scope="module")
def custom_run(tmp_path_factory):
    """Train a custom task on a table in another folder, with a LoRA base in a folder."""
    secret = tmp_path_factory.mktemp("home") / "a_secret_place"
    secret.mkdir()
    rows = [{"told": f"a {c} dog in {p}", "asked": "colour", "answer": c} for c in ("red", "blue") for p in "abcdefgh"]
    rows.append({"told": "", "asked": "colour", "answer": "red"})
    (secret / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (secret / "scored.txt").write_text("a green cat\n")
    tiny_family("gpt2", secret / "my_lm", ["a red dog", "blue"])
    settings = [
        "task=custom", "task.metric=accuracy", "task.labels=[red,blue]", "data=file", f"data.path={secret}/told.jsonl",
        "data.text_column=told", "'data.prompt=Which {asked}?'", "data.target_column=answer", "data.on_bad_rows=skip",
        "lm=pretrained", f"lm.name={secret}/my_lm", "lm.tuning=lora", *SMALL_LOOP, "device=cpu",
        f"output={secret}/run", f"runs={secret}/runs", f"embedding_cache.folder={secret}/vectors",
        f"exclude_overlap_with=[{secret}/scored.txt]",
    ]  # fmt: skip
    settings = [one.strip("'") if "Which" not in one else "data.prompt='Which {asked}?'" for one in settings]
    train(compose_config("train", TrainConfig, settings), "text")
    return secret / "run"


def test_the_card_states_the_training_data_and_their_size(custom_run, tmp_path):
    TransferModel.from_pretrained(custom_run, device="cpu").save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved/README.md").read_text()
    facts = json.loads((custom_run / "facts.json").read_text())
    assert facts["num_examples"] > 10 and facts["num_skipped"] == 1
    for line in (
        f"| training data | file, `told.jsonl`, {facts['num_examples']} examples |",
        "| entries left out | 1 (",
        f"| data fingerprint | `{facts['data_fingerprint']}` |",
        "| language | en |",
        "| prompt | `Which {asked}?` |",
        "| metric | accuracy |",
        "| labels | red, blue |",
    ):
        assert line in card


def test_local_paths_are_not_published(custom_run, tmp_path, monkeypatch):
    model = TransferModel.from_pretrained(custom_run, device="cpu")
    model.save_pretrained(tmp_path / "saved")
    settings = json.loads((tmp_path / "saved/about.json").read_text())["settings"]
    assert settings["data"]["path"] == "told.jsonl"
    assert settings["lm"]["name"] == "my_lm"
    assert not {"embedding_cache", "output", "runs", "resume", "device"} & settings.keys()
    for name in ("about.json", "README.md"):
        assert "a_secret_place" not in (tmp_path / "saved" / name).read_text()
    assert TransferModel.from_pretrained(tmp_path / "saved", device="cpu").labels == (
        "red",
        "blue",
    )  # the base model is found
    uploaded = {}

    class Hub:
        endpoint = "https://hub"

        def create_repo(self, name, **_):
            return type("Repository", (), {"repo_id": f"someone/{name}"})

        def upload_folder(self, repo_id, folder_path, **_):
            uploaded.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})

    monkeypatch.setattr("close_transfer.inference.hub.HfApi", Hub)
    assert model.push_to_hub("judge") == "https://hub/someone/judge"
    assert b'from_pretrained("someone/judge", base_model="my_lm")' in uploaded["README.md"]
    assert json.loads(uploaded["config.json"])["base_model"]["folder"] == "my_lm"
    assert not [name for name, content in uploaded.items() if b"a_secret_place" in content]
    for name, content in uploaded.items():
        (tmp_path / "got").mkdir(exist_ok=True)
        (tmp_path / "got" / name).write_bytes(content)
    again = TransferModel.from_pretrained(tmp_path / "got", device="cpu", base_model=custom_run.parent / "my_lm")
    assert again.labels == ("red", "blue")


def test_paths_are_shortened_and_names_of_the_hub_are_unchanged():
    settings = {
        "data": {"name": "file", "path": "private/captions.jsonl", "prompt": "Is it a/b?"},
        "clip": {"model": "local-dir:/home/me/clip", "weights": "/home/me/vit.pt", "tokenizer": "xlm/roberta"},
        "lm": {"name": "google/flan-t5-base"},
        "statistics": "/home/me/statistics",
        "exclude_overlap_with": ["test", "/home/me/texts.jsonl"],
        "embedding_cache": {"folder": "/home/me/cache"},
        "device": "cpu",
    }
    told = {
        "data": {"name": "file", "path": "captions.jsonl", "prompt": "Is it a/b?"},
        "clip": {"model": "local-dir:clip", "weights": "vit.pt", "tokenizer": "xlm/roberta"},
        "lm": {"name": "google/flan-t5-base"},
        "statistics": "statistics",
        "exclude_overlap_with": ["test", "texts.jsonl"],
    }
    assert redact(settings) == told == redact(told)
    assert redact({"name": "huggingface", "path": "owner/data"})["path"] == "owner/data"
    published = redact_config({"encoder": {"config": settings["clip"]}, "lm": {"_name_or_path": "/home/me/lm", "d": 1}})
    assert published == {"encoder": {"config": told["clip"]}, "lm": {"d": 1}}


def test_names_of_others_do_nothing_in_a_card():
    text = hostile.HOSTILE
    base_model = {"name": text, "folder": text, "fingerprint": text, "lora": None}
    made = config(
        encoder={"name": text, "dim": 8, "config": {"kind": "open_clip", "model": "ViT-B-32"}},
        task={"name": "captioning", "prompt": text, "language": text, "metric": text, "labels": [text]},
        base_model=base_model,
    )
    result = {"data": text, "split": text, "scene": text, "num_examples": 3, "metrics": {text.replace("/", ""): 1.0}}
    about = {
        "facts": {"input_modality": "text", "num_examples": 2, "num_skipped": 1, "skipped": {text: 1}, "data_fingerprint": text},
        "settings": {"data": {"name": text, "path": text, "prompt": text}, "lm": {"name": text}},
        "results": [result | {"intervals": {}}],
    }  # fmt: skip
    card = str(build_model_card(made, about, text, text))
    pages.write_page(Path("README.md"), card)
    written = Path("README.md").read_text()
    hostile.check_markdown(written)
    assert written.count("evil.example") > 10
    header = hostile.read_front_matter(written)
    assert header["library_name"] == "close-transfer" and header["license"] == "other"
    (code,) = re.findall(r"^(`{3,})python\n(.*?)\n\1$", written, flags=re.DOTALL | re.MULTILINE)
    (call,) = [
        node
        for node in ast.walk(ast.parse(code[1]))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained"
    ]
    assert [type(argument) for argument in call.args] == [ast.Constant]
