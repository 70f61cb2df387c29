"""Options of sbatch: from files and the command line, and what is refused."""

from pathlib import Path

import pytest

from bench_core.engines.slurm_config import Resources, refuse_unknown, slurm_config
from bench_core.errors import RequestError

TABLES = """
[slurm]
partition = "gpu"
time = "04:00:00"
cpus-per-task = 8
exclusive = true
setup = ["module load cuda", "echo 1"]

[slurm.evaluation]
partition = "cpu"
time = 30
"""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, and one of the user's configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "bench").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_command_line_wins_over_the_file() -> None:
    Path("bench.toml").write_text(TABLES)
    config = slurm_config(["partition=a100", "gpus=2", "evaluation.time=10", "setup=first", "setup=second"])
    assert config.training.options == {
        "partition": "a100", "time": "04:00:00", "cpus-per-task": "8", "exclusive": True, "gpus": "2",
    }  # fmt: skip
    assert config.training.setup == ("first", "second")
    assert config.evaluation is not None
    assert config.evaluation.options == {"partition": "cpu", "time": "10"}


def test_file_of_this_folder_wins_over_that_of_the_user(folders: Path) -> None:
    mine = folders / "config" / "bench" / "config.toml"
    mine.write_text('[slurm]\ntime = 7\naccount = "me"\n')
    assert slurm_config([]).training.options == {"time": "7", "account": "me"}
    Path("bench.toml").write_text("[slurm]\ntime = 9\n")
    assert slurm_config([]).training.options == {"time": "9"}
    assert slurm_config([]).evaluation is None


def test_evaluation_takes_over_nothing_from_the_training() -> None:
    config = slurm_config(["time=60", "gpus=8", "evaluation.time=5"])
    assert config.evaluation == Resources({"time": "5"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("01:30", 90), ("01:02:03", 3723), ("2-0", 172800), ("1-02:30", 95400), ("1-00:00:01", 86401)],
)
def test_time_is_read_as_sbatch_reads_it(text: str, seconds: int) -> None:
    assert slurm_config([f"time={text}"]).training.time_s == seconds


@pytest.mark.parametrize(("time", "delay"), [("04:00:00", 120), ("6", 120), ("3", 60), ("1", 20)])
def test_state_is_saved_two_minutes_before_the_limit_or_a_third_of_a_short_one(time: str, delay: int) -> None:
    assert slurm_config([f"time={time}"]).training.signal_delay_s == delay
    assert slurm_config([f"time={time}", "signal=USR2@30"]).training.signal_delay_s == 30


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ([], 0),
        (["gpus=4"], 4),
        (["gpus=a100:4"], 4),
        (["nodes=2", "gpus-per-node=4"], 8),
        (["gres=gpu:2"], 2),
        (["gres=shard:1,gpu:v100:3"], 3),
        (["gres=gpu"], 1),
        (["gpus=0"], 0),
    ],
)
def test_gpus_of_an_element_are_counted(options: list[str], gpus: int) -> None:
    assert slurm_config(["time=60", *options]).training.gpus == gpus


def test_ranks_are_the_gpus_that_an_element_asks_for() -> None:
    two_nodes = slurm_config(["time=60", "nodes=2", "gpus-per-node=4"]).training
    assert (two_nodes.ranks_per_node("auto"), two_nodes.ranks_per_node(8)) == (4, 4)
    cpus = slurm_config(["time=60"]).training
    assert (cpus.ranks_per_node("auto"), cpus.ranks_per_node(1), cpus.ranks_per_node(3)) == (1, 1, 3)
    with pytest.raises(RequestError, match=r"asks for 8 GPUs, but ranks is 3, .* --slurm gpus=3"):
        two_nodes.ranks_per_node(3)
    with pytest.raises(RequestError, match="3 ranks cannot be shared out among 2 nodes"):
        slurm_config(["time=60", "nodes=2"]).training.ranks_per_node(3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"^--slurm: time is missing, .* add --slurm time=04:00:00"),
        (["time=60", "evaluation.partition=x"], r"add --slurm evaluation\.time=04:00:00"),
        (["time=soon"], r"^time=soon is no time limit; write HH:MM:SS"),
        (["time=00:30"], "less than a minute"),
        (["time=60", "array=0-3"], r"--slurm array=0-3: array cannot be set: bench makes one array element"),
        (["time=60", "dependency=singleton"], "dependency cannot be set"),
        (["time=60", "output=x"], "STORE/slurm/logs"),
        (["time=60", "no-requeue"], "queued again and goes on"),
        (["time=60", "ntasks=4"], "--ranks"),
        (["time=60", "job-name=x"], "job-name cannot be set"),
        (["time=60", "signal=TERM@60"], r"signal must be USR2@SECONDS"),
        (["time=1", "signal=USR2@90"], "comes before an element"),
        (["time=60", "--partition=gpu"], "without dashes before it"),
        (["time=60", "partition="], "must have a value"),
        (["time=60", "partition=a\nb"], "printable"),
    ],
)
def test_options_that_cannot_be_are_refused_with_what_is_right(given: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        slurm_config(given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[slurm", r"^bench\.toml cannot be read"),
        ("[slrum]\ntime = 1", r"bench\.toml: \[slrum\] is no table"),
        ("slurm = 1", r"slurm must be a table, \[slurm\], got 1"),
        ("[slurm]\ntime = [1]", r"bench\.toml \[slurm\]: time must be text"),
        ("[slurm]\ntime = 60\nexclusive = false", "leave the line out"),
        ("[slurm]\ntime = 60\nsetup = 1", "setup must be a list"),
        ("[slurm]\ntime = 60\n[slurm.evaluation]\narray = 1", r"bench\.toml \[slurm\.evaluation\]: array cannot"),
    ],
)
def test_files_that_say_something_else_are_refused(content: str, message: str) -> None:
    Path("bench.toml").write_text(content)
    with pytest.raises(RequestError, match=message):
        slurm_config([])


def test_option_that_the_site_does_not_know_is_refused_with_what_is_similar() -> None:
    help_text = "  -p, --partition=partition   partition requested\n      --time-min=minutes  minimum"
    refuse_unknown(Resources({"partition": "a"}), help_text)
    with pytest.raises(RequestError, match=r"--slurm: 'partion' is no option of sbatch; did you mean 'partition'\?"):
        refuse_unknown(Resources({"partion": "a"}), help_text)
