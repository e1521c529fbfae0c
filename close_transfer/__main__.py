"""Entry point of `python -m close_transfer`, such as `python -m close_transfer train_text_only noise=0.1`."""

import sys

from close_transfer.core.startup import keeping_status, loading_libraries


def main() -> None:
    """Run the command that the first argument names, or list all of them."""
    with loading_libraries():
        from close_transfer.cli import COMMANDS, run
    scripts = {script: command for command in COMMANDS.values() for script in command.list_scripts()}
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in scripts:
        sys.argv[1:] = sys.argv[2:]  # Hydra reads the settings from sys.argv
        run(name)
        return
    print("python -m close_transfer COMMAND [setting=value ...]\n")
    print("\n".join(f"  {script:<24} {command.summary}" for script, command in scripts.items()))
    print("\nSettings of a command: COMMAND --help, or docs/settings.md.")
    if name not in ("", "-h", "--help"):
        sys.exit(f"\nerror: {name}: there is no such command. Choose one from the list above")


if __name__ == "__main__":
    with keeping_status():
        main()
