"""Runner of several commands in one process, because importing torch would take most of the time of each.

Its argument is a JSON file with one list per command: the script, then its arguments. It writes the output of each
command into printed.json, and stops at the first command that fails.
"""

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path


class _Both(io.StringIO):
    """Buffer of the output, which is also shown."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        return super().write(text)


def main() -> None:
    import close_transfer
    from close_transfer.cli import run

    assert Path(close_transfer.__file__).is_relative_to(Path.cwd()), "another copy of the project is imported"
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
