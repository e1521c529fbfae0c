"""Hostile texts of others through every command that prints or writes them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import run_command
from tests.evaluation.test_comparison import put, results
from tests.hostile import (
    HARMLESS,
    HOSTILE,
    check_html,
    check_markdown,
    check_terminal,
    read_front_matter,
)
from tests.textgen.conftest import corpus, start_server  # noqa: F401  fixtures


def make_answer(text):
    def answer(handler):
        handler.send(
            200,
            {
                "model": text,
                "choices": [{"message": {"content": json.dumps({"text": f"{text} on the grass"})}}],
                "usage": {"prompt_tokens": 20, "completion_tokens": 10},
            },
        )

    return answer


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-4f1b9c7e2a60d853")


def synthesize(made, *settings):
    ended = run_command("synthesize_captions", *made.settings, *settings)
    check_terminal(ended.out, ended.err)
    return ended


def generate(corpus, start_server, text, **options):  # noqa: F811
    rows = Path(f"rows-{len(text)}.txt")
    rows.write_text(f"{text.replace(chr(13), '')}\n" * 3)
    made = corpus(start_server(make_answer(text)), *(f"filters.{name}=false" for name in ("leaks", "markup", "refusals")),
                  "filters.language=null", "filters.exact_duplicates=false", "filters.near_duplicates=null",
                  "recipe.keywords_present=none", f"keywords.list={rows.absolute()}", f"recipe.licence={text.encode('unicode_escape').decode()}",
                  num_texts=3, **options)  # fmt: skip
    planned = synthesize(made, "action=plan")
    assert ("evil.example" in planned.out) == (text == HOSTILE)  # the prompts are shown
    assert synthesize(made, "recipe.words=[1,60]").status == 0
    for action in ("status", "report"):
        assert synthesize(made, f"action={action}", "recipe.words=[1,60]").status == 0
    return made.folder


@pytest.mark.slow
def test_answers_names_and_prompts_of_others_in_a_corpus(corpus, start_server):  # noqa: F811
    hostile, harmless = (generate(corpus, start_server, text) for text in (HOSTILE, HARMLESS))
    check_html(hostile / "report.html", harmless / "report.html")
    card = (hostile / "card.md").read_text()
    check_markdown(card)
    assert "evil.example" in card  # the server's name of the model
    assert read_front_matter(card).keys() == read_front_matter((harmless / "card.md").read_text()).keys()
    # The data themselves are as they were generated.
    assert any("\x1b" in json.loads(line)["text"] for line in (hostile / "corpus.jsonl").open())


@pytest.mark.parametrize("status", [401, *(pytest.param(status, marks=pytest.mark.slow) for status in (400, 500))])
def test_errors_of_a_server(status, corpus, start_server):  # noqa: F811
    server = start_server(lambda handler: handler.send(status, {"error": {"message": HOSTILE, "code": HOSTILE}}))
    made = corpus(server, "max_attempts=1", num_texts=2)
    ended = synthesize(made)
    assert ended.status == 2
    if status == 401:
        assert "\\x1b]0;owned" in ended.err
    assert synthesize(made, "action=status").status == 0


@pytest.mark.parametrize("location", ["http://e.example/\x1b[2J\x9b\x1b]0;x\x07", "http://[\x1b[2J"])
def test_the_address_of_a_redirect(location, corpus, start_server):  # noqa: F811
    server = start_server(lambda handler: handler.send(308, {}, Location=location))
    ended = synthesize(corpus(server, "max_attempts=1", num_texts=1))
    assert ended.status == 2
    assert "redirects to" in ended.err


def compare(folder, text):
    """Compare two systems whose results have the text in every field that is shown."""
    theirs = results(80.0, train={"lm": {"name": text}}, system=text, data_fingerprint=text + "a" * 64)
    theirs |= {"task": text, "data": text, "split": text, "encoder": text, "scene": "image", "skipped": {text: 1}}
    theirs |= {"num_skipped": 1, "clipscore_encoder": text, "data_regime": text}
    theirs["metrics"] |= {text: 5.0, f"{text}/{text}": 6.0, "CLIPScore": 7.0}
    folders = [
        put(f"{folder}/runs/{number}", theirs | {"seed": None, "system": f"{text} {number}"}, [1.0, 2.0])
        for number in (1, 2)
    ]
    ended = run_command(
        "compare_results",
        f"results={folder}/runs/**/results.json",
        f"output={folder}/report",
        f"compare=[{','.join(folders)}]",
        "num_bootstrap=50",
    )
    assert ended.status == 0, ended.err
    check_terminal(ended.out, ended.err)
    return Path(folder, "report.md"), Path(folder, "report.html")


def test_results_of_others_in_a_comparison():
    (hostile_md, hostile_html), (_, harmless_html) = compare("hostile", HOSTILE), compare("harmless", HARMLESS)
    check_html(hostile_html, harmless_html)
    check_markdown(hostile_md.read_text())
    assert "evil.example" in hostile_md.read_text()


@pytest.mark.parametrize("change", [{"metrics": {HOSTILE: "x"}}, {"task": 7}, {"skipped": {HOSTILE: HOSTILE}}])
def test_damaged_results_of_others(change):
    put("runs/a", results() | change)
    ended = run_command("compare_results", "results=runs/**/results.json")
    assert ended.status == 2
    check_terminal(ended.out, ended.err)


def test_captions_of_others_in_the_check_of_data():
    name = "pic\x1b[2J\u202e.jpg"
    for split in ("train", "val", "test"):
        lines = [{"image": name, "captions": [HOSTILE] * 5}, {"image": HOSTILE, "captions": [HOSTILE, 7]}]
        Path(f"captions_{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("flickr30k-images").mkdir()
    Path("flickr30k-images", name).write_bytes(b"no image")
    for more in ([], ["data.on_bad_rows=skip", "leakage=true"]):
        ended = run_command("check_data", "data=flickr30k-jsonl", "data.root=.", *more)
        check_terminal(ended.out, ended.err)
    assert "evil.example" in ended.out  # examples of leakage


def test_names_of_files_and_columns_in_errors():
    for settings in (
        ["predictions=p\x1b[2J.json", "references=r.json"],
        ["predictions=p.json", "references=r\u202e.json"],
        [f"name={HOSTILE}", "predictions=p\x9b.json", "references=r.json"],
    ):
        ended = run_command("score_predictions", "task=captioning", *settings)
        assert ended.status == 2
        check_terminal(ended.out, ended.err)


@pytest.mark.slow
def test_predictions_of_others_are_scored_under_their_name():
    images = [{"id": number, "file_name": f"{HOSTILE}{number}.png"} for number in (1, 2)]
    captions = [{"image_id": number, "caption": text} for number in (1, 2) for text in (HOSTILE, HARMLESS)]
    Path("r.json").write_text(json.dumps({"images": images, "annotations": captions}))
    Path("p.json").write_text(json.dumps([{"image_id": number, "caption": HOSTILE} for number in (1, 2)]))
    ended = run_command("score_predictions", "task=captioning", "predictions=p.json", "references=r.json",
                        f"name={HOSTILE}", "output=scored", "num_bootstrap=20")  # fmt: skip
    check_terminal(ended.out, ended.err)
    assert ended.status == 0, ended.err


@pytest.mark.slow
def test_names_of_images_and_their_captions(finished_runs, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "a\x1b[2J\u202e.png")
    (folder / "b\x9b\r.png").write_bytes(b"no image")
    ended = run_command("predict", f"runs={finished_runs}", f"images={folder}", "output=out.jsonl", "device=cpu")
    assert ended.status == 0, ended.err
    check_terminal(ended.out, ended.err)


@pytest.mark.slow
def test_captions_of_others_in_an_evaluation(finished_runs, tmp_path):
    pages = []
    for name, text in (("hostile", HOSTILE), ("harmless", HARMLESS)):
        rows = [{"scene": f"{text} {number // 2}", "text": f"{text} {number}"} for number in range(6)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        ended = run_command("eval_image", f"runs={finished_runs}", "data=file", f"data.path={name}.jsonl", "scene=text",
                            "data.group_column=scene", f"output={name}", "device=cpu")  # fmt: skip
        assert ended.status == 0, ended.err
        check_terminal(ended.out, ended.err)
        pages.append(Path(name, "report.html"))
    check_html(*pages)
