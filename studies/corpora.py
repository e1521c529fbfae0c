"""What a captioner learns from growing pieces of text corpora: scores on images, and whether it writes in their style."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from matplotlib.figure import Figure

from close_transfer.core.atomic_files import atomic_path, write_json, write_text
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.markdown import format_table
from close_transfer.core.svg import render_svg
from close_transfer.evaluation.score_lines import read_scores
from studies.config import StudyCorporaConfig
from studies.jobs import Job, run_jobs
from studies.scene_scores import SceneScores

_TEST = "test"
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Trained:
    """One row: what was trained on, and what came of it.

    Attributes:
        name: of the corpus.
        size: texts of it; None where all of other data was taken.
        metric: the leading metric's name.
        score: on the test's images, mean over examples and seeds.
        low, high: its 95% bootstrap interval over images.
        by_seed: score of each seed.
        in_style: share of the captions, over all seeds, with one of the style's words; 0 to 1.
        corpus_in_style: the same of the texts that were trained on; None for other data.
        distinct: share of the captions of one seed that no other image got, mean over seeds; 0 to 1.
    """

    name: str
    size: int | None
    metric: str
    score: float
    low: float
    high: float
    by_seed: list[float]
    in_style: float
    corpus_in_style: float | None
    distinct: float


def _make_slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _name_corpora(config: StudyCorporaConfig) -> dict[str, Path]:
    """The corpora by their folder's name, or the file's where it is not called corpus.jsonl.

    Raises:
        UserError: if two have the same.
    """
    path_by_name: dict[str, Path] = {}
    for path in map(Path, config.corpora):
        name = path.absolute().parent.name if path.name == "corpus.jsonl" else path.stem
        if _make_slug(name) in map(_make_slug, path_by_name):
            raise UserError(f"corpora={path}: another one is called {name} too; rename its folder")
        path_by_name[name] = path
    return path_by_name


def _get_piece_path(config: StudyCorporaConfig, name: str, size: int) -> Path:
    return Path(config.output) / "corpora" / f"{_make_slug(name)}-{size}.jsonl"


def write_pieces(config: StudyCorporaConfig) -> None:
    """Writes the beginnings of every corpus.

    Raises:
        UserError: if one is missing or shorter than the largest size.
    """
    for name, path in _name_corpora(config).items():
        if not path.is_file():
            raise UserError(
                f"corpora={path}: there is no such file; python scripts/synthesize_captions.py writes corpora"
            )
        with path.open(encoding="utf-8") as file:
            lines = list(islice(file, max(config.sizes)))
        if len(lines) < max(config.sizes):
            raise UserError(
                f"corpora={path}: has {len(lines):,} texts, and sizes asks for {max(config.sizes):,}; make it longer "
                "with a higher num=, or ask for less"
            )
        for size in config.sizes:
            piece = _get_piece_path(config, name, size)
            text = "".join(lines[:size])
            if piece.is_file() and piece.read_text(encoding="utf-8") != text:
                raise UserError(f"{piece}: was made of another corpus; give another output=")
            with atomic_path(piece) as temporary:
                temporary.write_text(text, encoding="utf-8")


def _list_rows(config: StudyCorporaConfig) -> list[tuple[str, int | None, tuple[str, ...]]]:
    """(name, size, settings of training) of every row."""
    rows: list[tuple[str, int | None, tuple[str, ...]]] = [
        (settings, None, tuple(shlex.split(settings))) for settings in config.extra_systems
    ]
    for name in _name_corpora(config):
        for size in config.sizes:
            rows.append((name, size, ("data=file", f"data.path={_get_piece_path(config, name, size)}")))
    return rows


def _get_run_folder(config: StudyCorporaConfig, name: str, size: int | None, seed: int) -> Path:
    return Path(config.output) / (_make_slug(name) if size is None else f"{_make_slug(name)}-{size}") / f"seed-{seed}"


def list_jobs(config: StudyCorporaConfig) -> list[Job]:
    """Every training of the study with its test."""
    shared, test = shlex.split(config.train_overrides), tuple(shlex.split(config.eval_overrides))
    return [
        Job(
            _get_run_folder(config, name, size, seed),
            "text",
            ("task=captioning", f"seed={seed}", *settings, *shared),
            {_TEST: test},
        )
        for seed in range(config.seeds)
        for name, size, settings in _list_rows(config)
    ]


def measure_style_share(texts: Iterable[str], words: Sequence[str]) -> float:
    """Share of texts that hold one of the words, whatever its case; 0 to 1."""
    wanted = {word.lower() for word in words}
    is_in_style = [not wanted.isdisjoint(_WORD.findall(text.lower())) for text in texts]
    return sum(is_in_style) / max(1, len(is_in_style))


def _read_texts(path: Path, column: str) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)[column] for line in file]


def _collect_row(config: StudyCorporaConfig, name: str, size: int | None) -> Trained:
    folders = [_get_run_folder(config, name, size, seed) / _TEST for seed in range(config.seeds)]
    scores = SceneScores.read(folders, {example_id: example_id for example_id in read_scores(folders[0])[1]})
    captions = [_read_texts(folder / "predictions.jsonl", "prediction") for folder in folders]
    corpus_texts = None if size is None else _read_texts(_get_piece_path(config, name, size), "text")
    return Trained(
        name,
        size,
        scores.metric,
        scores.score,
        *scores.interval(config.num_bootstrap),
        scores.by_seed,
        measure_style_share([text for texts in captions for text in texts], config.style_words),
        None if corpus_texts is None else measure_style_share(corpus_texts, config.style_words),
        sum(sum(texts.count(text) == 1 for text in texts) / len(texts) for texts in captions) / len(captions),
    )


def markdown(rows: Sequence[Trained]) -> str:
    """A table, a row of training a line."""
    header = ["trained on", "texts", rows[0].metric, "seeds", "in the style", "of its texts", "said of one image only"]
    lines = []
    for row in rows:
        lines.append(
            [
                row.name,
                "all" if row.size is None else f"{row.size:,}",
                f"{row.score:.1f} ({row.low:.1f} to {row.high:.1f})",
                f"{min(row.by_seed):.1f} to {max(row.by_seed):.1f}",
                f"{row.in_style:.1%}",
                "" if row.corpus_in_style is None else f"{row.corpus_in_style:.1%}",
                f"{row.distinct:.0%}",
            ]
        )
    return format_table(header, lines)


def figure(rows: Sequence[Trained]) -> bytes:
    """Score against the number of texts, with intervals as bands; other data as level lines; an SVG."""
    drawn = Figure(figsize=(7, 4), layout="constrained")
    axes = drawn.subplots()
    for name in dict.fromkeys(row.name for row in rows):
        corpus_rows = [row for row in rows if row.name == name]
        sizes = [row.size for row in corpus_rows if row.size is not None]
        if not sizes:
            axes.axhline(corpus_rows[0].score, color="#5b6675", lw=1, ls="--", label=name)
            continue
        (line,) = axes.plot(sizes, [row.score for row in corpus_rows], marker="o", ms=4, label=name)
        axes.fill_between(
            sizes,
            [row.low for row in corpus_rows],
            [row.high for row in corpus_rows],
            color=line.get_color(),
            alpha=0.2,
        )
    axes.set(xlabel="texts", ylabel=rows[0].metric, xscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return render_svg(drawn)


def run_study(config: StudyCorporaConfig) -> str:
    """Trains and tests what is missing; writes corpora.json, corpora.md and corpora.svg; gives the table as Markdown.

    Raises:
        UserError: if a corpus is too short, or a training or a test fails, with its own words.
    """
    write_pieces(config)
    run_jobs(list_jobs(config), config.num_workers, "corpora")
    rows = [_collect_row(config, name, size) for name, size, _ in _list_rows(config)]
    folder, table = Path(config.output), markdown(rows)
    write_json(
        folder / "corpora.json", {"config": config.model_dump(mode="json"), "rows": [asdict(row) for row in rows]}
    )
    write_text(folder / "corpora.md", table + "\n")
    write_text(folder / "corpora.svg", figure(rows).decode())
    return f"{table}\nfigure: {folder / 'corpora.svg'}"


def main(config: StudyCorporaConfig) -> None:
    """Run the study, and print its table."""
    show(run_study(config))
