import subprocess
import sys

import bench_core


def test_all_is_sorted_and_every_name_is_there() -> None:
    assert bench_core.__all__ == sorted(bench_core.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    for name in bench_core.__all__:
        assert getattr(bench_core, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(bench_core, "nothing")


def test_listing_all_plugins_imports_torch_and_nothing_else_that_is_heavy() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from bench_core.cli import main\n"
        "done = CliRunner().invoke(main, ['list'])\n"
        "assert done.exit_code == 0 and 'simclr' in done.output, done.output\n"
        "heavy = {'torchvision', 'pandas', 'sklearn', 'faiss', 'scipy.stats', 'scipy.optimize', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_and_version_and_completion_import_no_torch() -> None:
    code = (
        "import os, sys\n"
        "from click.testing import CliRunner\n"
        "from bench_core.cli import main\n"
        "for words in (['--help'], ['run', '--help'], ['table', '--help'], ['--version'], ['completion', 'bash']):\n"
        "    assert CliRunner().invoke(main, words).exit_code == 0, words\n"
        "os.environ.update(_BENCH_COMPLETE='bash_complete', COMP_WORDS='bench ru', COMP_CWORD='1')\n"
        "try:\n"
        "    main(prog_name='bench')\n"
        "except SystemExit as left:\n"
        "    assert left.code == 0\n"
        "heavy = {'torch', 'torchvision', 'pandas', 'sklearn', 'faiss', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "plain,run\n"  # what `ru` completes to
