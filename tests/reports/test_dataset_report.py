import shlex

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.training.training_data import load_training_data
from tests.data.sources.made import json_lines, picture, write
from tests.data.test_dataset_check import check, commands


@pytest.mark.parametrize("num", [0, 2])
def test_evaluating_on_some_of_the_images_says_so(num):
    names = [f"{i}.jpg" for i in range(3)]
    write("captions_test.jsonl", json_lines([{"image": name, "captions": ["A dog."] * 5} for name in names]))
    for name in names[:num]:
        picture(f"flickr30k-images/{name}")
    yes, no = commands(check("flickr30k-jsonl")[1])
    if num:
        assert "python scripts/eval_image.py task=captioning data=flickr30k-jsonl data.on_missing_image=skip" in yes
    else:
        assert (
            "no (images of test are missing): python scripts/eval_image.py task=captioning data=flickr30k-jsonl" in no
        )


def test_training_on_real_data_uses_an_encoder_of_photographs():
    for split in ("train", "val"):
        write(f"captions_{split}.jsonl", json_lines([{"image": f"{split}.jpg", "captions": ["A dog."] * 5}]))
    text = check("flickr30k-jsonl")[1]
    (command,) = (one for one in commands(text)[0] if "train_text_only" in one)
    config = compose_config("train", TrainConfig, shlex.split(command)[2:])
    assert (config.clip.model, config.clip.pretrained, config.lm.name) == ("ViT-L-14", "openai", "t5-base")
    assert "downloaded once" in text


@pytest.mark.parametrize("is_meant", [False, True])
def test_a_command_that_would_refuse_the_data_is_not_a_yes(is_meant):
    addresses = [f"https://example.com/{number}.jpg" for number in range(6)]
    for split in ("train", "val", "test"):
        write(f"captions_{split}.jsonl", json_lines([{"image": f"{split}.jpg", "captions": addresses}]))
        picture(f"flickr30k-images/{split}.jpg")
    yes, no = commands(check("flickr30k-jsonl", *(["check_text=false"] if is_meant else []))[1])
    assert (len(yes), len(no)) == ((3, 0) if is_meant else (0, 3))
    for command in yes:
        _, script, *settings = shlex.split(command)
        if "train_text_only" in script:
            config = compose_config("train", TrainConfig, [*settings, "data.root=."])
            assert len(load_training_data(config, "text").training.examples) == 6
