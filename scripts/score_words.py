"""How well captions of Picturebook tell kinds of things, colours, sizes, numbers, relations, places and times.

python scripts/score_words.py runs/study/relatives/captioning/*/seed-0/test-*
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the package

from close_transfer.core.errors import UserError
from studies.word_transfer import word_table

NUM_BOOTSTRAP = 1000


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    if not sys.argv[1:]:
        sys.exit(__doc__)
    try:
        print(word_table([Path(name) for name in sys.argv[1:]], NUM_BOOTSTRAP))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
