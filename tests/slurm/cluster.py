"""A Slurm of five nodes on this machine, for tests: its own keys, ports and folder, ready in seconds, ended by pid.

    with slurm_cluster() as cluster:
        subprocess.run(["sinfo"], env=cluster.environment)

Needs the packages slurmctld, slurmd, slurm-client and munge; `missing_packages` says which programs are not there.
As a program it keeps a cluster until Ctrl-C, and prints the variable to set: python tests/slurm/cluster.py
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
_READY_S = 30.0
_CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
PriorityType=priority/basic
ReturnToService=2
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
MinJobAge=300
InactiveLimit=0
KillWait={kill_wait}
SlurmdTimeout={slurmd_timeout}
MaxArraySize={max_array_size}
CommunicationParameters=NoAddrCache
PropagateResourceLimits=NONE
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=test Nodes=n[0-1] Default=YES MaxTime=INFINITE State=UP PreemptMode=OFF
PartitionName=fragile Nodes=n[2-3] MaxTime=INFINITE State=UP PreemptMode=OFF
PartitionName=low Nodes=n4 MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=n4 MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
"""


def missing_packages() -> str:
    """Return why no cluster can be started here; "" where it can."""
    path = _search_path({})
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not found; apt-get install {' '.join(PACKAGES)}"
    return ""


def _search_path(environment: Mapping[str, str]) -> str:
    """Return PATH with the folders of daemons, which users often lack."""
    return f"{environment.get('PATH', os.environ.get('PATH', os.defpath))}:/usr/sbin:/sbin"


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        folder: Configuration, state, logs and spool.
        daemons: Name -> process of munged, slurmctld and the slurmd of each node.
    """

    folder: Path
    daemons: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process with which Slurm's programs find the cluster."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return {**outer, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _search_path(outer)}

    def call(self, *command: str) -> str:
        """Run one of Slurm's programs and return what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground; its output goes to a file of the folder."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self.start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill the slurmd of a node as a power cut does; what it started lives on."""
        self.daemons[node].kill()
        self.daemons.pop(node).wait()

    def wait_until_ready(self, nodes: Sequence[str]) -> None:
        """Wait until every node takes jobs."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            try:
                if set(self.call("sinfo", "-h", "-N", "-o", "%N %t").splitlines()) == {f"{n} idle" for n in nodes}:
                    return
            except RuntimeError:
                pass
            if dead := [name for name, process in self.daemons.items() if process.poll() is not None]:
                raise RuntimeError(f"{dead} ended: {(self.folder / f'{dead[0]}.out').read_text()[-2000:]}")
            time.sleep(0.2)
        raise RuntimeError(f"the nodes are not ready: {self.call('sinfo', '-N')}")

    def stop(self) -> None:
        """Cancel all jobs and end the daemons, each by its pid."""
        try:
            self.call("scancel", f"--user={getpass.getuser()}")
            deadline = time.monotonic() + 20
            while self.call("squeue", "-h").strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        except (RuntimeError, subprocess.TimeoutExpired):
            pass
        for process in reversed(self.daemons.values()):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _kill_leftovers(folder: Path) -> None:
    """Kill what jobs of a cluster have left, such as those of a node that was killed; its folder is in their words."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"SLURM_CONF={folder}/".encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                os.kill(int(path.parent.name), signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in held]


@contextmanager
def slurm_cluster(
    *, cpus: int = 4, kill_wait: int = 20, slurmd_timeout: int = 10, max_array_size: int = 1001
) -> Iterator[Cluster]:
    """Start a cluster and end it.

    Nodes n0 and n1 are the partition test, n2 and n3 the partition fragile. Jobs of the partition urgent drive those
    of the partition low from n4.

    Args:
        cpus: Cores that each node says it has; the machine may have fewer.
        kill_wait: Seconds from SIGTERM to SIGKILL.
        slurmd_timeout: Seconds after which a node that does not answer counts as down.
        max_array_size: One more than the greatest index in a job array.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-slurm-", dir="/tmp"))  # short: a socket's path has 107 characters
    folder.chmod(0o755)  # munge wants a folder that all may enter
    cluster = Cluster(folder)
    host, nodes = socket.gethostname().partition(".")[0], ["n0", "n1", "n2", "n3", "n4"]
    try:
        controller_port, *ports = _free_ports(1 + len(nodes))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (folder / "state").mkdir()
        lines = [f"NodeName={n} NodeHostname={host} Port={p} CPUs={cpus}" for n, p in zip(nodes, ports, strict=True)]
        (folder / "slurm.conf").write_text(
            _CONF.format(
                host=host, user=getpass.getuser(), folder=folder, controller_port=controller_port, kill_wait=kill_wait,
                slurmd_timeout=slurmd_timeout, max_array_size=max_array_size, nodes="\n".join(lines),
            )
        )  # fmt: skip
        paths = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("socket", "pid-file", "log-file")]
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--seed-file={folder}/munge.seed", *paths]
        cluster.start("munged", *munged)
        while not (folder / "munge.socket").exists() and cluster.daemons["munged"].poll() is None:
            time.sleep(0.05)
        cluster.start("slurmctld", "slurmctld", "-D")
        for node in nodes:
            cluster.start_node(node)
        cluster.wait_until_ready(nodes)
        yield cluster
    finally:
        cluster.stop()
        _kill_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with slurm_cluster() as running:
        print(f"export SLURM_CONF={running.folder}/slurm.conf", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            time.sleep(1e9)
