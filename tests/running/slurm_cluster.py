"""A real Slurm on this machine: two nodes with four CPUs and two GPUs each, which are character devices and no more.

It needs root and the package slurm-wlm (with munge); no systemd, no cgroups, no accounting.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

NODES = ("n1", "n2")
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
CONFIG = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=5
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=1
JobRequeue=1
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=4 RealMemory=32000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=4 RealMemory=32000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
GPUS = """
NodeName=n1 Name=gpu File={folder}/gpu[0-1]
NodeName=n2 Name=gpu File={folder}/gpu[2-3]
"""


def is_possible() -> bool:
    """Whether such a cluster can be started here."""
    return os.geteuid() == 0 and all(shutil.which(command) for command in NEEDED)


class Cluster:
    """A running cluster; `environment` are the variables that Slurm's commands need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start the daemons, and wait until both nodes are idle."""
        self.folder.chmod(0o755)
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir()
        for number in range(4):
            os.mknod(self.folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        ports = dict(zip(("port", *NODES), free_ports(3), strict=True))
        settings = {"folder": self.folder, "host": socket.gethostname().partition(".")[0], **ports}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**settings))
        (self.folder / "gres.conf").write_text(GPUS.format(**settings))
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        log = f"--log-file={self.folder / 'munged.log'}"
        subprocess.run(["munged", "--force", "--num-threads=2", log, *options], check=True)
        self._daemon("slurmctld", "slurmctld", "-c", "-D")
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.states() == {node: "idle" for node in NODES})

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._daemon(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Let a node die: its daemon, its step daemons and all that runs there."""
        self.processes.pop(node).kill()
        for process in on_node(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def states(self) -> dict[str, str]:
        """Node to its state."""
        text = self.run("sinfo", "--Node", "--noheader", "--format=%N %T")
        return dict(line.split() for line in text.splitlines())

    def run(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True)
        return done.stdout

    def stop(self) -> None:
        """End everything."""
        self.run("scancel", "--user=root")
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(30)
        os.kill(int((self.folder / "munged.pid").read_text()), signal.SIGTERM)

    def _daemon(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as output:
            self.processes[name] = subprocess.Popen(
                [*command, "-f", str(self.folder / "slurm.conf")],
                stdout=output,
                stderr=output,
                env=os.environ | self.environment,
            )

    def _wait(self, condition, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.5)


def on_node(node: str) -> list[int]:
    """The processes that run on a node, and the step daemons that started them, these first."""
    daemons, found = set(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURMD_NODENAME={node}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            found.append(int(folder.name))
            if b"slurmstepd" in Path("/proc", parent, "cmdline").read_bytes():
                daemons.add(int(parent))
        except OSError:
            continue
    return [*daemons, *found]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for found in sockets:
        found.bind(("127.0.0.1", 0))
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports
