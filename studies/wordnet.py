"""Categories of nouns and their similarity by Wu and Palmer, from WordNet's files and nltk."""

import io
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError, get_first_line

# LiMBeR names these categories. Which synsets of WordNet 3.0 make each is this project's choice. A noun belongs to the
# first that holds it; the rest of the artifacts are objects.
CATEGORIES = {
    "people": ("person.n.01", "people.n.01"),
    "animals": ("animal.n.01",),
    "vehicles": ("conveyance.n.03", "wheeled_vehicle.n.01"),
    "environment": (
        "region.n.03", "geographic_point.n.01", "geological_formation.n.01", "body_of_water.n.01", "land.n.04", "soil.n.02",
        "plant.n.02", "rock.n.01", "water.n.01", "weather.n.01", "atmosphere.n.05", "celestial_body.n.01", "structure.n.01",
        "way.n.06",
    ),
    "objects": ("artifact.n.01", "food.n.01", "food.n.02"),
}  # fmt: skip
OTHER = "other"
# The third sense of a word is rarely meant in a caption: a game is an animal in its fourth.
_NUM_SENSES = 2
SOURCES = (
    "Give a folder with WordNet 3.0's files: /usr/share/wordnet of Debian's package wordnet-base, or corpora/wordnet, "
    "unzipped, of python -m nltk.downloader wordnet"
)


def _open_reader(folder: Path) -> Any:
    """Return nltk's reader of the folder.

    Raises:
        UserError: if nltk is not installed or cannot read the folder.
    """
    if not (folder / "data.noun").is_file():
        raise UserError(f"wordnet={folder}: has no file data.noun. {SOURCES}")
    try:
        import nltk
        from nltk.corpus.reader.wordnet import WordNetCorpusReader
    except ImportError as error:
        raise UserError(
            f"wordnet={folder} needs nltk, which is not installed. Install it by pip install nltk"
        ) from error

    class Reader(WordNetCorpusReader):
        def open(self, file: str) -> Any:
            if file == "lexnames":  # Debian's package lacks this file of 45 names, which are not used here
                return io.StringIO("".join(f"{number:02d} {number} 0\n" for number in range(45)))
            return super().open(file)

        def map_wn(self, version: str = "wordnet") -> None:
            """Map nothing to other versions of WordNet, which would have to be downloaded too."""

    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))  # nltk reads from these folders only
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The multilingual functions are not available")
            return Reader(str(folder), None)
    except Exception as error:
        raise UserError(f"wordnet={folder}: cannot be read ({get_first_line(error)}). {SOURCES}") from error


class WordNet:
    """Nouns of WordNet."""

    def __init__(self, folder: Path) -> None:
        """Read the files.

        Raises:
            UserError: if nltk is not installed or cannot read the folder.
        """
        self._reader = _open_reader(folder.absolute())
        self._find_sense = cache(self._choose_sense)
        self.measure_similarity = cache(self._measure_similarity)

    def _choose_sense(self, noun: str) -> tuple[Any, str]:
        """Return the most frequent sense that is in a category, else the most frequent one, and the category."""
        senses = self._reader.synsets(noun, "n")[:_NUM_SENSES]
        for sense in senses:
            names = {synset.name() for path in sense.hypernym_paths() for synset in path}
            for category, roots in CATEGORIES.items():
                if names & set(roots):
                    return sense, category
        return (senses[0] if senses else None), OTHER

    def find_category(self, noun: str) -> str:
        """Return the category of a noun, a key of `CATEGORIES` or `OTHER`."""
        return self._find_sense(noun)[1]

    def _measure_similarity(self, noun: str, other: str) -> float:
        """Return the Wu-Palmer similarity of two nouns in 0..1; 0 if WordNet lacks one of them and they differ."""
        if noun == other:
            return 1.0
        first, second = self._find_sense(noun)[0], self._find_sense(other)[0]
        return float(first.wup_similarity(second) or 0) if first and second else 0.0
