"""Commands on a finished store that nobody may write, see `read_only_cases.py`."""

import os
import re
import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).with_name("read_only_cases.py")


def test_commands_on_a_read_only_store() -> None:
    """Run the cases in a process of their own, which no coverage traces.

    Their audit hook stays for the life of a process. It runs inside `sys.settrace`, too, where Python 3.11 then refuses
    to trace a second thread that starts meanwhile: "Cannot install a trace function while another ...".
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_", "PYTEST_"))}
    words = [sys.executable, "-m", "pytest", str(CASES), "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        words, cwd=Path(__file__).parents[3], env={**kept, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b2[0-9] passed", done.stdout), done.stdout
