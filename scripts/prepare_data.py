"""Checks what is there of a published dataset, counts it against what is published, and says what is missing.

    python scripts/prepare_data.py data=coco
    python scripts/prepare_data.py data=all
    python scripts/prepare_data.py data=flickr30k leakage=true

Exit status: 0 if every file is there with the published counts, and the pictures an evaluation needs;
1 if something is missing, damaged or of another size; 2 if a setting is wrong. docs/data.md tells more.
"""

import sys

from close_transfer.cli import command
from close_transfer.config.check_data import PrepareConfig
from close_transfer.data.dataset_check import check_data
from close_transfer.data.sources.published import ORIGINS
from close_transfer.reports.dataset_report import describe

INCOMPLETE_STATUS = 1

incomplete: list[str] = []


@command("prepare_data", PrepareConfig)
def check(config: PrepareConfig) -> None:
    given = [argument for argument in sys.argv[1:] if argument.startswith("data")]
    choice = next((one.removeprefix("data=") for one in reversed(given) if one.startswith("data=")), config.data.name)
    overrides = [one for one in given if one.startswith("data.")]
    found = check_data(config.data, choice, overrides, config.leakage)
    print(describe(found, config.leakage), flush=True)
    if not found.complete:
        incomplete.append(choice)


def main() -> None:
    arguments = sys.argv[1:]
    if "data=all" not in arguments:
        check()
    else:
        others = [argument for argument in arguments if argument != "data=all"]
        for number, choice in enumerate(ORIGINS):
            print("\n" if number else "", end="")
            sys.argv[1:] = [f"data={choice}", *others]
            check()
        told = ", ".join(incomplete) or "none"
        print(f"\n{len(ORIGINS) - len(incomplete)} of {len(ORIGINS)} are complete; not complete: {told}")
    if incomplete:
        sys.exit(INCOMPLETE_STATUS)


if __name__ == "__main__":
    main()
