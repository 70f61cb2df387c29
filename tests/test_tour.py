"""The notebook of the manual runs from its first cell to its last."""

import json
import subprocess
import sys
from pathlib import Path

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def test_the_tour_runs_from_the_first_cell_to_the_picture(tmp_path: Path) -> None:
    cells = json.loads(TOUR.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = tmp_path / "tour.py"
    script.write_text("import matplotlib\nmatplotlib.use('agg')\n" + "\n\n".join(code))
    done = subprocess.run([sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tour.png").stat().st_size > 10_000


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [cell for cell in json.loads(TOUR.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
