"""Runs commands one after the other in one process, because importing torch takes most of the time of each.

Its argument is a JSON file with one list per command: the script, then its arguments. What each printed goes into
printed.json. The first command that fails ends it.
"""

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path


class _Both(io.StringIO):
    """What is printed, which is shown too."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        return super().write(text)


def main() -> None:
    import close_transfer
    from close_transfer.cli import run

    assert Path(close_transfer.__file__).is_relative_to(Path.cwd()), "the copy is not what is imported"
    printed = []
    for script, *arguments in json.loads(Path(sys.argv[1]).read_text()):
        assert Path(script).is_file(), f"there is no {script}"
        sys.argv = [script, *arguments]
        print(f"$ {script} {' '.join(arguments)}")
        with redirect_stdout(_Both()) as output:
            try:
                run(Path(script).stem)
            except SystemExit as error:
                if error.code:
                    raise
        printed.append(output.getvalue())
    Path("printed.json").write_text(json.dumps(printed))


if __name__ == "__main__":
    main()
