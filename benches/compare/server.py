"""A system's processes: started, watched through /proc, stopped."""

import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

START_LIMIT = 120
STOP_LIMIT = 60
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A running system, in a directory of its own. Use it in a `with`."""

    def __init__(self, system, directory: Path):
        self.system = system
        self.directory = directory
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.process = None

    def __enter__(self):
        self.system.configure(self)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.stop()

    def start(self) -> float:
        """Starts it; the seconds until its first answer."""
        environment = os.environ | self.system.environment(self)
        with open(self.directory / "log", "ab") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                self.system.command(self),
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.monotonic() < began + START_LIMIT:
            if self._answers():
                return time.monotonic() - began
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.system.name} ended: {self.log_end()}")
            time.sleep(0.001)
        raise RuntimeError(f"{self.system.name} does not answer: {self.log_end()}")

    def stop(self):
        """Ends it as an operator would."""
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self):
        """Ends it and its children as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def log_end(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def cpu_seconds(self) -> float:
        """The processor time that its processes have used."""
        return sum(cpu_ticks(pid) for pid in self.pids()) / TICKS

    def resident(self) -> int:
        """Its memory now, in bytes."""
        return sum(status_bytes(pid, "VmRSS") for pid in self.pids())

    def peak_resident(self) -> int:
        """Its most memory since `reset_peak`, in bytes."""
        return sum(status_bytes(pid, "VmHWM") for pid in self.pids())

    def reset_peak(self):
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def pids(self) -> list[int]:
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        return found

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.system.ready_path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_ticks(pid: int) -> int:
    # The name, in parentheses, may hold spaces: count from behind it (proc_pid_stat(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def status_bytes(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"no {key} for process {pid}")
