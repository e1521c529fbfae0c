"""probe_encoder.py as a user calls it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.probe_encoder import ProbeEncoderConfig
from close_transfer.core.errors import UserError
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.inference.transfer_model import TransferModel
from close_transfer.pipelines.probe_encoder import load_classifications, main, probe_encoder
from close_transfer.reports.probe_report import describe_probes
from tests.commands import run_command

QUICK = ["num_bootstrap=20", "attention_pool.steps=3", "few_shot.shots=[1,2]", "output=probes", "device=cpu"]


def make_photos(root, num_images=6):
    for colour in ("red", "green", "blue"):
        Path(root, colour).mkdir(parents=True)
        for number in range(num_images):
            # Of different sizes, because rows with equal images are one scene.
            Image.new("RGB", (16 + number, 16), colour).save(Path(root, colour, f"{number}.png"))
    return root


def run(*settings):
    results = probe_encoder(compose_config("probe_encoder", ProbeEncoderConfig, [*QUICK, *settings]))
    return results, json.loads(Path("probes/results.json").read_text()), Path("probes/report.html").read_text()


@pytest.mark.slow
def test_picturebook_probes_agree_in_file_page_and_terminal():
    results, written, page = run("data.num_train=120", "data.num_test=40", "targets=[places,counts]")
    probes = ["majority", "few_shot_1", "few_shot_2", "linear", "attention_pool", "zero_shot"]
    assert list(written["metrics"]) == [f"{target}/{probe}" for target in ("places", "counts") for probe in probes]
    assert written["split"] == "test"
    assert written["intervals"].keys() == written["metrics"].keys()
    assert written["metrics"]["places/linear"] > written["metrics"]["places/majority"] + 20
    assert len(written["tables"]["places"]["seeds"]["few_shot_1"]["by_seed"]) == 3
    for name in ("places/linear", "counts/zero_shot"):
        assert f"{written['metrics'][name]:.1f}" in page and f"{written['metrics'][name]:6.1f}" in describe_probes(
            results
        )
    lines = [json.loads(line) for line in Path("probes/predictions.jsonl").read_text().splitlines()]
    places = [line for line in lines if line["target"] == "places"]
    assert len(places) == 40
    right = np.mean([line["linear"] == [line["class"]] for line in places])
    assert written["metrics"]["places/linear"] == pytest.approx(100 * right)
    compared = run_command("compare_results", "results=probes", "output=compared")
    assert compared.status == 0, compared.err


def test_a_folder_of_classes_is_probed():
    folder = make_photos("photos")
    _, written, page = run(f"images={folder}", "probes=[few_shot,linear]", "few_shot.num_seeds=1")
    assert written["metrics"]["classes/few_shot_2"] == 100
    assert written["data"] == "photos" and "classes/few_shot_2" in page
    assert written["tables"]["classes"] | {"linear_l2": 0} == {
        "num_classes": 3, "num_training": 15, "num_test": 3, "seeds": {}, "linear_l2": 0,
    }  # fmt: skip


def test_precomputed_vectors_and_an_encoder_without_a_grid_leave_probes_out():
    Path("rows.csv").write_text("text\n" + "".join(f"{'odd' if n % 2 else 'even'}\n" for n in range(60)))
    rng = np.random.default_rng(0)
    np.save("vectors.npy", (rng.standard_normal((60, 4)) + 9 * (np.arange(60) % 2)[:, None]).astype(np.float32))
    settings = ["data=file", "data.path=rows.csv", "data.val_share=0.3", "clip=precomputed"]
    _, written, _ = run(*settings, "clip.image_embeddings=vectors.npy")
    assert written["metrics"]["classes/linear"] == 100
    assert {name.partition("/")[2] for name in written["metrics"]} == {"majority", "few_shot_1", "few_shot_2", "linear"}
    assert any("not grids" in note for note in written["notes"])
    assert any("does not encode texts. Give run=FOLDER" in note for note in written["notes"])


@pytest.mark.slow
@pytest.mark.parametrize("templates", [["{}"], ["{}", "A {} image."]])
def test_a_run_classifies_by_likelihood(finished_runs, templates):
    folder, run_folder = Path(make_photos("photos")), finished_runs / "captioning" / "latest"
    written_templates = f"templates=[{','.join(map(repr, templates))}]"
    settings = [f"images={folder}", f"run={run_folder}", "probes=[zero_shot]", "batch_size=2", written_templates]
    results, written, page = run(*settings)
    assert list(written["metrics"]) == ["classes/majority", "classes/zero_shot", "classes/zero_shot_likelihood"]
    assert written["intervals"].keys() == written["metrics"].keys()
    assert written["run"] == str(run_folder.resolve()) and written["config"]["train"]["task"]["name"] == "captioning"
    assert "classes/zero_shot_likelihood" in page and "zero_shot_likelihood" in describe_probes(results)
    assert not written["notes"]

    # Independently, text by text and token by token.
    model = TransferModel.from_pretrained(run_folder, device="cpu")
    names = ["blue", "green", "red"]
    lines = [json.loads(line) for line in Path("probes/predictions.jsonl").read_text().splitlines()]
    for line in lines:
        vector = model._encode_inputs([str(folder / line["id"])], (), None)
        likelihoods = []
        for name in names:
            texts = [template.format(name).lower() for template in templates]
            likelihoods.append(sum(math.exp(sum_log_likelihoods(model, vector, text)) for text in texts))
        assert line["zero_shot_likelihood"] == [names[int(np.argmax(likelihoods))]]
    assert written["metrics"]["classes/zero_shot_likelihood"] == pytest.approx(
        100 * np.mean([line["zero_shot_likelihood"] == [line["class"]] for line in lines])
    )


def sum_log_likelihoods(model, vector, text):
    decoder = Decoder(model.network, model.tokenizer, Decoding(num_beams=1))
    ids = torch.tensor([model.tokenizer(text).input_ids])
    assert ids[0, -1] == model.tokenizer.eos_token_id
    with torch.inference_mode():
        logits = model.network(
            torch.from_numpy(vector), *decoder._encode_prompts([""]), ids, torch.tensor([0]), "image"
        )[0]
    return sum(float(logits[place].log_softmax(dim=0)[token]) for place, token in enumerate(ids[0].tolist()))


def test_default_texts_of_classes_are_prompts_by_similarity_and_names_by_likelihood():
    config = compose_config("probe_encoder", ProbeEncoderConfig, [])
    assert (config.similarity_templates, config.likelihood_templates) == (("a photo of a {}.",), ("{}",))
    given = compose_config("probe_encoder", ProbeEncoderConfig, ["images=photos", "templates=['my {}']"])
    assert given.similarity_templates == given.likelihood_templates == ("my {}",)


def test_settings_of_another_source_are_refused():
    for settings, message in (
        (["test_images=tests"], "test_images=tests only applies with images="),
        (["images=photos", "split=val"], "split=val only applies with data="),
    ):
        with pytest.raises(UserError, match=message):
            compose_config("probe_encoder", ProbeEncoderConfig, settings)


def test_settings_without_an_effect_are_refused():
    config = compose_config("probe_encoder", ProbeEncoderConfig, ["run=runs/cap", "images=photos"])
    for argument, message in (
        ("clip=timm", "clip=timm has no effect with run=runs/cap, whose encoder is probed"),
        ("clip.precision=bf16", "clip.precision=bf16 has no effect with run=runs/cap"),
        ("data.num_test=9", "data.num_test=9 has no effect with images=photos"),
        ("targets=[kinds]", r"targets=\[kinds\] only applies to data=picturebook"),
    ):
        with pytest.raises(UserError, match=message):
            main(config, [argument])
    with pytest.raises(UserError, match="templates= only applies to names of classes, and data=picturebook has texts"):
        compose_config("probe_encoder", ProbeEncoderConfig, ["templates=['a {}']"])


def test_a_template_without_a_place_for_the_class_is_refused():
    with pytest.raises(UserError, match=r"templates.*has no \{\} for the name of the class\. Write one"):
        compose_config("probe_encoder", ProbeEncoderConfig, ["templates=[a photo]"])


def test_a_file_is_not_tested_on_the_rows_that_it_trains():
    Path("rows.csv").write_text("text\n" + "odd\neven\n" * 20)
    settings = ["data=file", "data.path=rows.csv", "split=test", "clip=precomputed", "clip.image_embeddings=none.npy"]
    with pytest.raises(
        UserError, match=r"test images are training images too.*Give other images for testing, or another"
    ):
        load_classifications(compose_config("probe_encoder", ProbeEncoderConfig, settings))


def test_data_without_classes_are_refused():
    make_photos("photos", 1)
    Path("empty").mkdir()
    for settings, message in (
        (["data=coco"], "data=coco has captions and no classes. Use data=picturebook"),
        (["images=none"], "images=none: there is no such folder"),
        (["images=empty"], "images=empty: there is no image in this folder"),
        (["images=photos", "test_images=empty"], "test_images=empty: there is no image in this folder"),
        (
            ["images=photos", "test_images=photos"],
            "classes: 3 test images are training images too; the first is blue/0.png",
        ),
    ):
        config = compose_config("probe_encoder", ProbeEncoderConfig, settings)
        with pytest.raises(UserError, match=message):
            load_classifications(config)
    Image.new("RGB", (8, 8)).save("photos/loose.png")
    with pytest.raises(UserError, match=r"loose\.png is not in a subfolder"):
        load_classifications(compose_config("probe_encoder", ProbeEncoderConfig, ["images=photos"]))
    Path("photos/loose.png").unlink()
    make_photos("tests", 1)
    Path("tests/red").rename("tests/pink")
    with pytest.raises(UserError, match="1 classes of the test images have no training image; the first is pink"):
        load_classifications(
            compose_config("probe_encoder", ProbeEncoderConfig, ["images=photos", "test_images=tests"])
        )


@pytest.mark.slow
def test_a_hugging_face_dataset_is_probed():
    import datasets

    make_photos("photos")
    files = sorted(str(path) for path in Path("photos").glob("*/*.png"))
    names = sorted({Path(file).parent.name for file in files})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {"image": files, "label": [names.index(Path(file).parent.name) for file in files]}
    table = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk("saved")
    _, written, _ = run(
        "data=huggingface", "data.path=saved", "data.text_column=label", "data.image_column=image",
        "probes=[few_shot,zero_shot]",
    )  # fmt: skip
    assert written["metrics"]["classes/few_shot_2"] == 100
    assert written["tables"]["classes"]["num_test"] == 18
