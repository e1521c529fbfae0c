"""Plans: the same in every process, longer ones begin with shorter ones, and planning spends nothing."""

import json
import socket
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from close_transfer.core.command_line import compose_config
from close_transfer.core.errors import UserError
from textgen.config import SynthesizeCaptionsConfig
from textgen.generators.openai_live import OpenAIClient
from textgen.pipeline import synthesize
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import count_plan, make_requests, read_plan, write_plan

CAPTIONS = [
    "A dog chases a red ball.",
    "Two owls sit in a tall tree.",
    "A dog rests under a tree.",
    "A man kicks a ball.",
]


@pytest.fixture(autouse=True)
def captions(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS))


OPENAI = ["source=openai", "model=gpt-5-mini", "references=captions.txt"]


def config(*arguments):
    return compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments)


def requests(num_texts, *arguments, key="key"):
    inputs = RecipeInputs(config(*arguments))
    counts = inputs.keyword_counts if inputs.config.recipe.keywords else None
    return list(make_requests(inputs.recipe, inputs.config, counts, key, num_texts))


def run(*arguments):
    return synthesize(config(*arguments), arguments)


def plan(output, *arguments):
    assert run(f"output={output}", "action=plan", *arguments) == 0
    return (output / "plan.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["recipe=entailment"],
        ["recipe=character"],
        ["recipe=news"],
        OPENAI,
        [*OPENAI, "keywords.sampler=uniform"],
        [*OPENAI, "keywords.sampler=pairs"],
    ],
    ids=" ".join,
)
def test_a_longer_plan_begins_with_the_shorter_one_and_no_request_comes_twice(arguments):
    long = requests(1000, *arguments)
    assert requests(100, *arguments) == long[:100]
    assert len({request.id for request in long}) == len({request.seed for request in long}) == 1000
    assert [request.index for request in long] == list(range(1000))
    assert requests(100, *arguments, "seed=1") != long[:100]


def test_a_users_keyword_list_is_followed(tmp_path):
    (tmp_path / "words.csv").write_text('keyword,quota\nowl,3\n"red,ball",1\n')
    given = ["keywords.sampler=list", "keywords.list=words.csv", "source=openai", "model=gpt-5-mini"]
    counts = Counter(request.keywords for request in requests(40, *given))
    assert counts == {("owl",): 30, ("red", "ball"): 10}
    with pytest.raises(UserError, match=r"keywords.sampler=list: needs a list\. Give keywords.list=FILE"):
        requests(1, "keywords.sampler=list")


@pytest.mark.slow
def test_every_process_makes_the_same_plan(tmp_path):
    line = (
        "import sys; from close_transfer.core.command_line import compose_config; from textgen.config import SynthesizeCaptionsConfig; "
        "from textgen.pipeline import synthesize; "
        "synthesize(compose_config('synthesize_captions', SynthesizeCaptionsConfig, sys.argv[1:]), sys.argv[1:])"
    )
    written = []
    for number, arguments in enumerate([OPENAI, OPENAI, ["recipe=entailment"], ["recipe=entailment"]]):
        output = tmp_path / f"corpus{number}"
        subprocess.run(
            [sys.executable, "-c", line, "action=plan", "num_texts=60", f"output={output}", *arguments],
            env={"PATH": "", "PYTHONHASHSEED": str(number), "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
        )
        written.append((output / "plan.jsonl").read_bytes())
    assert written[0] == written[1] != written[2] == written[3]


def changed_ids(tmp_path, *arguments):
    return [
        json.loads(line)["id"] for line in plan(tmp_path / "_".join(map(str, arguments)).replace("/", "."), *arguments)
    ]


def test_ids_change_with_everything_that_decides_an_answer(tmp_path):
    (tmp_path / "own.j2").write_text("Write about {{ keywords | join(', ') }}.")
    base = [*OPENAI, "num_texts=5"]
    variants = [
        [],
        ["recipe.template=own.j2"],
        ["model=gpt-5-nano"],
        ["recipe.temperature=0.7"],
        ["recipe.top_p=0.9"],
        ["max_output_tokens=99"],
        ["recipe.system=Be brief."],
        ["recipe.examples_per_request=2"],
        ["seed=1"],
        ["recipe.keywords=1"],
        ["recipe.items_per_request=2"],
    ]
    seen = [set(changed_ids(tmp_path, *base, *variant)) for variant in variants]
    for number, ids in enumerate(seen):
        assert not any(ids & other for other in seen[:number]), variants[number]
    (tmp_path / "own.j2").write_text("Write of {{ keywords | join(', ') }}.")
    again = [json.loads(line)["id"] for line in plan(tmp_path / "again", *base, "recipe.template=own.j2")]
    assert not seen[1] & set(again)


def test_ids_do_not_change_with_other_settings(tmp_path):
    base = [*OPENAI, "num_texts=5"]
    for other in (["concurrency=3"], ["max_cost=1"], ["source=openai-batch"], ["filters.clip_tokens=null"]):
        assert plan(tmp_path / "a", *base) == plan(tmp_path / "_".join(other), *base, *other)


def test_in_context_examples_rotate_without_repetition_in_a_prompt():
    shown = [request.examples for request in requests(300, *OPENAI)]
    assert all(len(set(examples)) == 8 for examples in shown)
    assert len(set(shown)) > 290
    counts = Counter(number for examples in shown for number in examples)
    assert set(counts) == set(range(18))
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_rows_come_in_order_and_repeat():
    people = [request.given["person"] for request in requests(30, "recipe=news")]
    assert people[:12] == people[12:24]
    assert people[:6] == people[24:]
    assert len(set(people)) == 12


def test_labels_come_equally_often():
    labels = Counter(request.given["label"] for request in requests(999, "recipe=entailment"))
    assert set(labels.values()) == {333}


@pytest.mark.parametrize(
    ("arguments", "num_texts"),
    [
        ([], 1000),
        (["num_texts=7"], 7),
        (["recipe=paraphrase-group"], 200),
        (["recipe=paraphrase-group", "num_texts=11"], 3),
        (["recipe=news"], 12),
        (["recipe=news", "num_texts=20"], 20),
        (["recipe=reviews"], 24),
        (["recipe=reviews", "num_texts=3"], 3),
        (["recipe=reviews", "num_texts=100"], 24),
    ],
    ids=str,
)
def test_number_of_requests_for_a_number_of_texts(tmp_path, arguments, num_texts):
    assert len(plan(tmp_path / "corpus", *arguments)) == num_texts


def test_a_plan_can_be_replaced_before_the_first_request(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    first = plan(corpus, *OPENAI, "num_texts=50")
    assert plan(corpus, *OPENAI) == first  # as many as planned
    assert plan(corpus, *OPENAI, "num_texts=20") == first[:20]
    assert plan(corpus, *OPENAI, "num_texts=80")[:50] == first
    other = plan(corpus, *OPENAI, "num_texts=50", "recipe.temperature=0.5")
    assert len(other) == 50 and not set(other) & set(first)


def test_a_plan_only_grows_after_the_first_request(tmp_path):
    corpus = tmp_path / "corpus"
    assert run(f"output={corpus}", "num_texts=50") == 0
    before = (corpus / "plan.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"num_texts=20: .*plan.jsonl plans 50 texts already, and a corpus only grows"):
        run(f"output={corpus}", "num_texts=20")
    assert (corpus / "plan.jsonl").read_bytes() == before
    assert run(f"output={corpus}", "num_texts=80", "action=plan") == 0
    after = (corpus / "plan.jsonl").read_bytes()
    assert after.startswith(before) and after.count(b"\n") == 80


def test_a_longer_plan_with_other_requests_is_refused(tmp_path):
    short = requests(5, *OPENAI)
    write_plan(tmp_path / "plan.jsonl", iter(short))
    before = (tmp_path / "plan.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"plan.jsonl, line 1: the same settings now give another request"):
        write_plan(tmp_path / "plan.jsonl", iter(requests(9, *OPENAI, "seed=1")))
    assert (tmp_path / "plan.jsonl").read_bytes() == before
    assert write_plan(tmp_path / "plan.jsonl", iter(requests(9, *OPENAI))) == 9
    assert list(islice(read_plan(tmp_path / "plan.jsonl"), 5)) == short


def test_a_damaged_plan_is_reported_with_its_line(tmp_path):
    path = tmp_path / "plan.jsonl"
    assert count_plan(path) == 0
    write_plan(path, iter(requests(3)))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:30], lines[2]]) + "\n")
    with pytest.raises(UserError, match=r"plan.jsonl: is damaged \(line 2"):
        list(read_plan(path))


def test_planning_makes_no_connection_and_needs_no_key(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(OpenAIClient, "__init__", refuse)
    plan(tmp_path / "corpus", *OPENAI, "num_texts=30")
    printed = capsys.readouterr().out
    assert "30 requests for 30 texts, by gpt-5-mini" in printed
    assert "tokens in prompts, at most 1,920 in answers (64 each)" in printed
    assert "cost: $" in printed and "prices of 20" in printed
    assert printed.count("--- prompt") == 3
    assert "Now one for new words." in printed
    assert not (tmp_path / "corpus/journal.jsonl").exists()
    plan(tmp_path / "own", *OPENAI, "num_texts=3", "model=mine", "allow_unpriced=true")
    assert "cost: unknown, because the model has no price" in capsys.readouterr().out


def test_a_refused_plan_leaves_the_folder_free(tmp_path):
    output = f"output={tmp_path / 'corpus'}"
    for arguments, message in [
        (["source=openai", "model=gpt-5-mini"], r"recipe=coco-style: needs texts or a list .*\. Give references=FILE"),
        (["source=openai", "references=captions.txt"], r"source=openai: needs a model\. Give model=NAME"),
        (
            ["source=transformers", "references=captions.txt"],
            r"source=transformers: needs a model\. Give model=NAME or a folder",
        ),
        ([*OPENAI, "model=gpt5"], r"model=gpt5: .* has no price for it"),
        ([*OPENAI, "references=none.txt"], r"references=none.txt: there is no such file"),
        ([*OPENAI, "keywords.min_count=99"], r"no keyword is in at least keywords.min_count=99 of the 4 texts"),
        (["keywords.sampler=pairs"], r"keywords.sampler=pairs: .*Give references=FILE"),
        (["evaluation=[none.txt]"], r"evaluation=none.txt: there is no such file"),
        (["filters.language=tlh"], r"filters.language=tlh: there is no word list for it"),
        (["keywords.list=none.csv", "keywords.sampler=list"], r"keywords.list=none.csv: there is no such file"),
    ]:
        with pytest.raises(UserError, match=message):
            run(output, "action=plan", *arguments)
    assert plan(tmp_path / "corpus", *OPENAI, "num_texts=5")
