"""A program in `warm_python` has what it would have in a Python of its own."""

import os
import signal
import subprocess
import time
from pathlib import Path


def run(python: str, *words: str, **given: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *words], capture_output=True, text=True, timeout=60, check=False, **given)  # type: ignore[call-overload, no-any-return]


def runs(program: int) -> bool:
    try:
        os.kill(program, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_has_its_words_streams_folder_variables_and_status(warm_python: str, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv, os.getcwd(), os.environ['X'], input()); sys.exit('no')"
    done = run(warm_python, "-c", code, "a", "b", input="line\n", cwd=tmp_path, env={**os.environ, "X": "1"})
    assert done.stdout == f"['-c', 'a', 'b'] {tmp_path} 1 line\n"
    assert (done.stderr, done.returncode) == ("no\n", 1)
    assert run(warm_python, "-c", "raise SystemExit(3)").returncode == 3


def test_a_file_and_a_module_run_as_main_and_print_their_traceback(warm_python: str, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'beside'")
    (tmp_path / "main.py").write_text("import sys, beside\nprint(__name__, beside.NAME, sys.argv[1:])\n1 / 0\n")
    for words in (("-u", str(tmp_path / "main.py")), ("-m", "main")):
        done = run(warm_python, *words, "a", cwd=tmp_path)
        assert done.stdout == "__main__ beside ['a']\n"
        assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
        assert done.returncode == 1


def test_large_packages_are_imported_already_and_nothing_of_this_project(warm_python: str) -> None:
    code = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    imported = set(run(warm_python, "-c", code).stdout.split())
    assert {"torch", "diffusers", "transformers"} <= imported
    assert not imported & {"benchmark", "methods", "metrics", "prompts", "standin", "pytest"}


def test_signals_reach_the_program_and_end_it(warm_python: str) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    for number in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen([warm_python, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            program = int(process.stdout.readline())
            assert runs(program)
            process.send_signal(number)
            assert process.wait(30) == -number
        until = time.monotonic() + 30
        while runs(program) and time.monotonic() < until:
            time.sleep(0.05)
        assert not runs(program)
    assert run(warm_python, "-c", "import os; os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
