"""Compares how a file gets from one node to another, beside sendme, in one run.

Whatever is measured ends with the whole file on the receiving side: for sendme and for a
download through a second larder node as a file of the user, for `keep` as a stored and
synced copy. Run it by `benches/compare/transfer`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import clients
import report
from rows import GIB, MIB, Group, Row, Settings, quiet
from server import Server, status_bytes
from systems import Larder

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "compare"
LIMIT = 120


class Node(Larder):
    """A larder node that knows the nodes at these addresses."""

    def __init__(self, binary: Path, peers: list[str]):
        super().__init__(binary, "always")
        self.peers = peers

    def command(self, server) -> list[str]:
        known = [f"--peer={peer}" for peer in self.peers]
        here = f"--base-url={server.base}"
        nobody = "--bootstrap=http://127.0.0.1:9"
        often = "--discover-every=1"
        return [*super().command(server), here, nobody, often, "--no-mdns", *known]


class Sendme:
    """sendme without a relay: `send`, then `receive`, which ends with the exported file."""

    key = name = "sendme"

    def __init__(self, binary: Path):
        self.binary = binary

    def version(self) -> str:
        printed = subprocess.run(
            [self.binary, "--version"], capture_output=True, text=True, check=True
        )
        return printed.stdout.strip().rpartition(" ")[2]

    def measure(self, directory: Path, content: Path) -> dict[str, float]:
        for side in ("from", "to"):
            (directory / side).mkdir()
        common = ["--relay=disabled", "--no-progress"]
        send = [self.binary, "send", *common, "--ticket-type=addresses", content]
        sender = subprocess.Popen(
            send, cwd=directory / "from", stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        try:
            ticket = next(line.split()[-1] for line in sender.stdout if "receive" in line)
            quiet()
            began = time.monotonic()
            receive = [self.binary, "receive", *common, ticket]
            receiver = subprocess.Popen(
                receive, cwd=directory / "to", stdout=sys.stderr, stderr=sys.stderr
            )
            _, status, used = os.wait4(receiver.pid, 0)
            seconds = time.monotonic() - began
            received = directory / "to" / content.name
            if status or received.stat().st_size != content.stat().st_size:
                raise RuntimeError(f"sendme receive ended with {status}")
            return {
                "transfer": seconds,
                "memory_from": status_bytes(sender.pid, "VmHWM") / MIB,
                "memory_to": used.ru_maxrss * 1024 / MIB,
            }
        finally:
            sender.kill()
            sender.wait()


class Through:
    """A verified download through a second node that does not hold the file."""

    key, name = "through", "larder, download through another node"
    # How many of the nodes that have the file are known to the one that gets it.
    known = 1

    def __init__(self, binary: Path):
        self.binary = binary
        self.version = Larder(binary, "always").version

    def measure(self, directory: Path, content: Path) -> dict[str, float]:
        with ExitStack() as stack:

            def start(name: str, peers: list[str]) -> Server:
                (directory / name).mkdir()
                server = Server(Node(self.binary, peers), directory / name)
                return stack.enter_context(server)

            # Always two, so that the disk has done the same before each measurement.
            holders = [start(name, []) for name in ("from-1", "from-2")]
            for holder in holders:
                clients.upload(holder, content)
            receiver = start("to", [holder.base for holder in holders[: self.known]])
            file = known_file(receiver, self.known)
            quiet()
            for server in [*holders, receiver]:
                server.reset_peak()
            seconds = self.transfer(receiver, file, directory, content)
            return {
                "transfer": seconds,
                "memory_from": max(it.peak_resident() for it in holders) / MIB,
                "memory_to": receiver.peak_resident() / MIB,
            }

    def transfer(self, receiver: Server, file: dict, directory: Path, content: Path) -> float:
        url = f"{receiver.base}/api/p2p/download/{file['peers'][0]}/{file['file_id']}"
        received = directory / "received"
        _, seconds = clients.curl(["-o", str(received), url])
        if received.stat().st_size != content.stat().st_size:
            raise RuntimeError("the download is not whole")
        return seconds


class Keep(Through):
    """A copy made by `keep`, from so many nodes that hold the file."""

    def __init__(self, binary: Path, known: int):
        super().__init__(binary)
        self.known = known
        self.key = f"keep-{known}"
        self.name = f"larder, keep from {known}"

    def transfer(self, receiver: Server, file: dict, directory: Path, content: Path) -> float:
        began = time.monotonic()
        url = f"{receiver.base}/api/p2p/keep"
        message = json.dumps({"hash": file["hash"]}).encode()
        head = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(url, message, head), timeout=LIMIT)
        wait_for(lambda: ask(f"{url}/{file['hash']}")["keep"]["state"] == "kept")
        return time.monotonic() - began


def known_file(server: Server, holders: int) -> dict:
    """The file, once the server knows all who hold it."""

    def look():
        files = ask(f"{server.base}/api/p2p/network")["files"]
        return next((it for it in files if len(it["peers"]) == holders), None)

    return wait_for(look)


def ask(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=LIMIT) as answer:
        return json.load(answer)


def wait_for(look):
    began = time.monotonic()
    while time.monotonic() < began + LIMIT:
        if found := look():
            return found
        time.sleep(0.005)
    raise RuntimeError("waited in vain")


def main():
    options = arguments()
    systems = [
        Sendme(options.sendme),
        Through(options.larder),
        Keep(options.larder, 1),
        Keep(options.larder, 2),
    ]
    rows = (
        Row("transfer", f"{options.size:g} GiB from node to node, s"),
        Row("memory_from", "peak memory of a node that has it, MiB", digits=0),
        Row("memory_to", "peak memory of the node that gets it, MiB", digits=0),
    )
    load_before = os.getloadavg()[0]
    directory = Path(tempfile.mkdtemp(prefix="transfer-", dir=TARGET))
    values = defaultdict(lambda: defaultdict(list))
    try:
        settings = Settings(directory, int(options.size * GIB), 0, 0)
        content = settings.file(settings.size)
        for number in range(options.rounds):
            turn = number % len(systems)
            for system in systems[turn:] + systems[:turn]:
                measured = measure(system, directory, content)
                print(f"round {number + 1}, {system.name}: {measured}", file=sys.stderr)
                for row in rows:
                    values[row.key][system.name].append(measured.get(row.key))
        group = Group("transfer", None, rows)
        result = report.summary([group], systems, values, options.rounds, load_before)
    finally:
        shutil.rmtree(directory)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.markdown(result))


def measure(system, directory: Path, content: Path) -> dict[str, float]:
    """One measurement; nothing when it failed, so that the others go on."""
    own = Path(tempfile.mkdtemp(dir=directory))
    try:
        return system.measure(own, content)
    except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
        print(f"{system.name}: {problem}", file=sys.stderr)
        return {}
    finally:
        shutil.rmtree(own)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--size", type=float, default=1.0, help="of the file, in GiB")
    add("--larder", type=Path, default=ROOT / "target" / "release" / "larder")
    add("--sendme", type=Path, default=TARGET / "bin" / "sendme")
    add("--json", type=Path, default=TARGET / "transfer.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
