import logging
import subprocess
import sys

from close_transfer.core.console import show, show_error, show_log


def test_results_go_to_standard_output_and_the_rest_to_standard_error(capsys):
    show("a result")
    show_error("error: no")
    show_log()
    show_log()  # shows nothing twice
    logging.getLogger("close_transfer.data").warning("note: %d lines", 3)
    logging.getLogger("textgen.filters").info("waiting")
    logging.getLogger("studies").debug("not shown")
    said = capsys.readouterr()
    assert said.out == "a result\n"
    assert said.err == "error: no\nnote: 3 lines\nwaiting\n"


def test_a_command_shows_what_libraries_log():
    program = (
        "import logging; from close_transfer.core.guarded_run import run_guarded;"
        "run_guarded(lambda: logging.getLogger('close_transfer.x').info('note: seen'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "note: seen\n"


def test_a_program_of_another_decides_itself_what_is_shown():
    program = "import logging, close_transfer.core.console; logging.getLogger('close_transfer.x').info('note: hidden')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


ACTING = "\x1b]0;title\x07\x1b[2J\x9b31m\x9d\u202e\u2066\u2028\r\t\x00\x7f\ufeff\udc80\U000e0041"
ESCAPED = r"\x1b]0;title\x07\x1b[2J\x9b31m\x9d\u202e\u2066\u2028\r\t\x00\x7f\ufeff\udc80\U000e0041"


def test_no_text_of_others_acts_on_the_terminal(capsys):
    show_log()
    show(f"{ACTING}\nshown")
    show_error(ACTING)
    # A lone surrogate in a log record could not be sent from one process of pytest to another.
    logging.getLogger("close_transfer").warning("note: %s", ACTING.replace("\udc80", ""))
    said = capsys.readouterr()
    assert said.out == f"{ESCAPED}\nshown\n"
    noted = ESCAPED.replace(r"\udc80", "")
    assert said.err == f"{ESCAPED}\nnote: {noted}\n"


def test_scripts_of_all_languages_are_shown_as_they_are(capsys):
    text = "naïve “quote”\u00a0— 犬\u3000が 👩\u200d🚀 مي\u200cم שלום\u200f ✔\ufe0f \ue000"
    show(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_messages_and_warnings_of_libraries_are_escaped():
    program = (
        "import logging, sys, warnings; from close_transfer.core.console import show_log; show_log(); show_log();"
        "logging.basicConfig(format='%(message)s');"
        "logging.getLogger('library').warning('\\x1b[1mname\\x1b[0m: %s', '\\x1b]0;title\\x07');"
        "warnings.warn('odd \\x1b[2J')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("name: \\x1b]0;title\\x07\n")
    assert "UserWarning: odd \\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr
