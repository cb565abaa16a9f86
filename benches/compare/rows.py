"""What is measured: each group of rows comes from one run on a fresh server."""

import json
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import clients

GIB = 1 << 30
MIB = 1 << 20
SMALL = 4096
RECORD = 1024
# Small uploads a second that no system exceeds by much.
FASTEST = 20_000


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    label: str
    more_is_better: bool = False
    digits: int = 2
    # Whether a ratio says anything: one to almost nothing does not.
    ratio: bool = True


@dataclass(frozen=True)
class Group:
    """Rows that come from one measurement: a function of a fresh server and `Settings`."""

    key: str
    measure: Callable
    rows: tuple[Row, ...]
    # Whether it makes many small files by a load, which stay until the run ends.
    load: bool = False
    # Whether it fills a server first: once, and only one that keeps its records.
    scale: bool = False

    def stays(self, settings) -> int:
        """About how many bytes it leaves on disk until the run ends."""
        if self.scale:
            return settings.scale * SMALL
        return settings.seconds * FASTEST * SMALL if self.load else 0


class Settings:
    """Sizes, times and the files that are sent."""

    def __init__(self, directory: Path, size: int, seconds: int, scale: int):
        self.directory = directory
        self.size = size
        self.seconds = seconds
        self.scale = scale

    def file(self, size: int) -> Path:
        """A file of so many random bytes, made on first use and then in page cache."""
        path = self.directory / f"random-{size}"
        if not path.exists():
            with open(path, "wb") as out:
                for begin in range(0, size, MIB):
                    out.write(os.urandom(min(MIB, size - begin)))
        return path


def quiet():
    """Lets no write of the one before fall into the next measurement."""
    os.sync()


def big_get(server, settings: Settings) -> dict[str, float]:
    url, _ = clients.upload(server, settings.file(settings.size))
    quiet()
    # Nothing was read yet: larder proves every byte on its way out.
    first, first_cpu = timed_download(server, url, settings)
    # What it proved moments ago it does not prove again.
    again, again_cpu = timed_download(server, url, settings)
    together = clients.download_at_once(url, 8)
    return {
        "get_first": first,
        "get_first_cpu": first_cpu,
        "get": again,
        "get_cpu": again_cpu,
        "get_8": together,
    }


def timed_download(server, url, settings: Settings) -> tuple[float, float]:
    """The seconds that a download takes, and the server's CPU seconds a GiB."""
    before = server.cpu_seconds()
    seconds = clients.download(url)
    return seconds, (server.cpu_seconds() - before) / settings.size * GIB


def big_upload(server, settings: Settings) -> dict[str, float]:
    path = settings.file(settings.size)
    quiet()
    before = server.cpu_seconds()
    _, seconds = clients.upload(server, path)
    cpu = (server.cpu_seconds() - before) / settings.size * GIB
    return {"upload": seconds, "upload_cpu": cpu}


def memory(server, settings: Settings) -> dict[str, float]:
    url, _ = clients.upload(server, settings.file(SMALL))
    clients.download(url)
    path = settings.file(4 * settings.size)
    quiet()
    idle = server.resident()
    server.reset_peak()
    url, _ = clients.upload(server, path)
    upload = server.peak_resident() - idle
    server.reset_peak()
    clients.download(url)
    download = server.peak_resident() - idle
    return {"memory_upload": upload / MIB, "memory_download": download / MIB}


def small_get(server, settings: Settings) -> dict[str, float]:
    url, _ = clients.upload(server, settings.file(SMALL))
    quiet()
    result = clients.load(url, "get", SMALL, 32, settings.seconds)
    return {"small_get": rate(result), "small_get_p99": result["p99_ms"]}


def small_upload(connections: int) -> Callable:
    def measure(server, settings: Settings) -> dict[str, float]:
        quiet()
        url, mode = server.system.upload_url(server), server.system.load
        result = clients.load(url, mode, SMALL, connections, settings.seconds)
        return {f"small_upload_{connections}": rate(result)}

    return measure


def start(server, settings: Settings) -> dict[str, float]:
    """Start times with many records, which must all be there after each start."""
    server.stop()
    server.system.fill(server, settings.scale, RECORD)
    quiet()
    clean = server.start()
    expect_files(server, settings.scale)
    memory = server.resident()
    # So that the kill meets a node at work.
    url = server.system.upload_url(server)
    rate(clients.load(url, server.system.load, RECORD, 16, settings.seconds))
    records = count(server)
    server.kill()
    quiet()
    killed = server.start()
    expect_files(server, records)
    return {
        "start_clean": clean,
        "start_memory": memory / MIB,
        "start_killed": killed,
        "start_killed_memory": server.resident() / MIB,
    }


def count(server) -> int:
    with urllib.request.urlopen(f"{server.base}/api/p2p/status", timeout=60) as answer:
        return json.load(answer)["local_files"]


def expect_files(server, least: int):
    """All of them, and perhaps what came in when they were counted."""
    if not least <= count(server) <= least + 16:
        raise RuntimeError(f"{count(server)} files after a start, not {least}")


def rate(result: dict) -> float:
    """Requests a second; a rate with failures in it is none."""
    if result["failed"] or result["refused"]:
        raise RuntimeError(f"requests failed: {result}")
    return result["per_second"]


def small_upload_group(connections: int) -> Group:
    key = f"small_upload_{connections}"
    label = f"4 KiB unique uploads/s, {connections} connections"
    return Group(key, small_upload(connections), (Row(key, label, True, 0),), load=True)


def groups(settings: Settings) -> list[Group]:
    size = f"{settings.size / GIB:g} GiB"
    four = f"{4 * settings.size / GIB:g} GiB"
    return [
        Group(
            "get",
            big_get,
            (
                Row("get_first", f"{size} GET from page cache, the first, s"),
                Row("get_first_cpu", "its server CPU, s/GiB"),
                Row("get", f"{size} GET from page cache, again, s"),
                Row("get_cpu", "its server CPU, s/GiB"),
                Row("get_8", f"{size} GET by 8 clients at once, s"),
            ),
        ),
        Group(
            "upload",
            big_upload,
            (
                Row("upload", f"{size} upload, s"),
                Row("upload_cpu", "its server CPU, s/GiB"),
            ),
        ),
        Group(
            "memory",
            memory,
            (
                Row("memory_upload", f"memory over idle, {four} upload, MiB", digits=1, ratio=False),
                Row("memory_download", f"memory over idle, {four} GET, MiB", digits=1, ratio=False),
            ),
        ),
        Group(
            "small_get",
            small_get,
            (
                Row("small_get", "4 KiB GET/s, 32 connections", True, 0),
                Row("small_get_p99", "their 99th percentile, ms"),
            ),
        ),
        *(small_upload_group(connections) for connections in (1, 16, 64)),
        Group(
            "start",
            start,
            (
                Row("start_clean", f"start with {settings.scale:,} records, s"),
                Row("start_memory", "memory after it, MiB", digits=0),
                Row("start_killed", "start with them after kill -9, s"),
                Row("start_killed_memory", "memory after that, MiB", digits=0),
            ),
            scale=True,
        ),
    ]
