"""Learning curve over text corpora: scores on images and style of captions, by the number of training texts."""

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
from close_transfer.core.pages import write_page
from close_transfer.core.svg import escape_label, render_svg
from close_transfer.evaluation.score_lines import read_scores
from studies.config import StudyCorporaConfig
from studies.jobs import Job, run_jobs
from studies.scene_scores import SceneScores

_TEST = "test"
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class CorpusResult:
    """Result of training on one piece of a corpus, a row of the table.

    Attributes:
        name: name of the corpus, or the settings of other data.
        size: number of training texts; None for other data, which is used as a whole.
        metric: name of the leading metric.
        score: score on the test images, mean over examples and seeds.
        low, high: 95% bootstrap interval of the score over images.
        by_seed: score of each seed.
        in_style: share of captions of all seeds that contain a style word; 0 to 1.
        corpus_in_style: share of training texts that contain a style word; 0 to 1, None for other data.
        distinct: share of captions that were written for one image only, mean over seeds; 0 to 1.
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
    """Return each corpus by its folder's name, or by the file's name if that is not corpus.jsonl.

    Raises:
        UserError: if two corpora have the same name.
    """
    path_by_name: dict[str, Path] = {}
    for path in map(Path, config.corpora):
        name = path.absolute().parent.name if path.name == "corpus.jsonl" else path.stem
        if _make_slug(name) in map(_make_slug, path_by_name):
            raise UserError(f"corpora={path}: another corpus is called {name} too. Rename its folder")
        path_by_name[name] = path
    return path_by_name


def _get_piece_path(config: StudyCorporaConfig, name: str, size: int) -> Path:
    return Path(config.output) / "corpora" / f"{_make_slug(name)}-{size}.jsonl"


def write_pieces(config: StudyCorporaConfig) -> None:
    """Write the beginnings of every corpus, one file per size.

    Raises:
        UserError: if a corpus is missing or shorter than the largest size.
    """
    for name, path in _name_corpora(config).items():
        if not path.is_file():
            raise UserError(
                f"corpora={path}: there is no such file. Run python scripts/synthesize_captions.py to write a corpus"
            )
        with path.open(encoding="utf-8") as file:
            lines = list(islice(file, max(config.sizes)))
        if len(lines) < max(config.sizes):
            raise UserError(
                f"corpora={path}: has {len(lines):,} texts, and sizes needs {max(config.sizes):,}. Write a longer corpus "
                "with a higher num_texts=, or give smaller sizes="
            )
        for size in config.sizes:
            piece = _get_piece_path(config, name, size)
            text = "".join(lines[:size])
            if piece.is_file() and piece.read_text(encoding="utf-8") != text:
                raise UserError(f"{piece}: was cut from another corpus. Give another output=")
            with atomic_path(piece) as temporary:
                temporary.write_text(text, encoding="utf-8")


def _list_rows(config: StudyCorporaConfig) -> list[tuple[str, int | None, tuple[str, ...]]]:
    """Return (name, size, settings of training) of every row."""
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
    """Return every training of the study with its test."""
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
    """Return the share of texts that contain one of the words, ignoring case; 0 to 1."""
    style_words = {word.lower() for word in words}
    is_in_style = [not style_words.isdisjoint(_WORD.findall(text.lower())) for text in texts]
    return sum(is_in_style) / max(1, len(is_in_style))


def _read_texts(path: Path, column: str) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)[column] for line in file]


def _collect_row(config: StudyCorporaConfig, name: str, size: int | None) -> CorpusResult:
    folders = [_get_run_folder(config, name, size, seed) / _TEST for seed in range(config.seeds)]
    scores = SceneScores.read(folders, {example_id: example_id for example_id in read_scores(folders[0])[1]})
    captions = [_read_texts(folder / "predictions.jsonl", "prediction") for folder in folders]
    corpus_texts = None if size is None else _read_texts(_get_piece_path(config, name, size), "text")
    return CorpusResult(
        name,
        size,
        scores.metric,
        scores.score,
        *scores.compute_interval(config.num_bootstrap),
        scores.by_seed,
        measure_style_share([text for texts in captions for text in texts], config.style_words),
        None if corpus_texts is None else measure_style_share(corpus_texts, config.style_words),
        sum(sum(texts.count(text) == 1 for text in texts) / len(texts) for texts in captions) / len(captions),
    )


def format_markdown(rows: Sequence[CorpusResult]) -> str:
    """Format the results as a Markdown table with one line per training."""
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


def draw_figure(rows: Sequence[CorpusResult]) -> bytes:
    """Draw score against number of texts as an SVG; bands are intervals, dashed lines are other data."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row.name for row in rows):
        corpus_rows = [row for row in rows if row.name == name]
        sizes = [row.size for row in corpus_rows if row.size is not None]
        if not sizes:
            axes.axhline(corpus_rows[0].score, color="#5b6675", lw=1, ls="--", label=escape_label(name))
            continue
        (line,) = axes.plot(sizes, [row.score for row in corpus_rows], marker="o", ms=4, label=escape_label(name))
        axes.fill_between(
            sizes,
            [row.low for row in corpus_rows],
            [row.high for row in corpus_rows],
            color=line.get_color(),
            alpha=0.2,
        )
    axes.set(xlabel="texts", ylabel=escape_label(rows[0].metric), xscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return render_svg(figure)


def run_study(config: StudyCorporaConfig) -> str:
    """Run the missing trainings and tests, write corpora.json, .md and .svg, and return the table as Markdown.

    Raises:
        UserError: if a corpus is too short, or with the message of the training or test that failed.
    """
    write_pieces(config)
    run_jobs(list_jobs(config), config.num_workers, "corpora")
    rows = [_collect_row(config, name, size) for name, size, _ in _list_rows(config)]
    folder, table = Path(config.output), format_markdown(rows)
    write_json(
        folder / "corpora.json", {"config": config.model_dump(mode="json"), "rows": [asdict(row) for row in rows]}
    )
    write_page(folder / "corpora.md", table + "\n")
    write_text(folder / "corpora.svg", draw_figure(rows).decode())
    return f"{table}\nfigure: {folder / 'corpora.svg'}"


def main(config: StudyCorporaConfig) -> None:
    """Run the study, and print its table."""
    show(run_study(config))
