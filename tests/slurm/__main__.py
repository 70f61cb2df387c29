"""Runs the tests in a real Slurm: python tests/slurm; with --all also those that take many minutes."""

import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    everything = {"BENCH_SLURM": "all"} if "--all" in sys.argv[1:] else {}
    command = [sys.executable, "-m", "pytest", "-v", "--durations=0", str(Path(__file__).with_name("test_slurm.py"))]
    sys.exit(subprocess.run(command, env={**os.environ, **everything}, check=False).returncode)
