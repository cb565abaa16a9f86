"""More of what is measured: many files, a cold disk, content that is there, idle and
mixed clients."""

import http.client
import json
import os
import resource
import statistics
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clients
from rows import GIB, MIB, RECORD, SMALL, Group, Row, Settings, count, quiet, rate

# More than any cache of files holds.
MANY = 20_000
IDLE = 10_000
# Of 32 clients: 70 % get small files, 20 % upload them, 5 % each do so with big ones.
SMALL_GETS, SMALL_UPLOADS, BIG = 22, 6, 2
BIG_SIZE = 64 * MIB


def get_many(server, settings: Settings) -> dict[str, float]:
    contents = [os.urandom(SMALL) for _ in range(MANY)]
    urls = clients.upload_many(server, contents)
    paths = server.directory / "paths"
    paths.write_text("".join(urllib.parse.urlsplit(url).path + "\n" for url in urls))
    quiet()
    result = clients.load(urls[0], "many", paths, 32, settings.seconds)
    return {"get_many": rate(result), "get_many_p99": result["p99_ms"]}


def full(server, settings: Settings) -> dict[str, float]:
    """What small requests lose where a server holds many files already."""
    clients.upload_many(server, [os.urandom(RECORD) for _ in range(MANY)])
    empty_up, empty_down = small_rates(server, settings)
    server.stop()
    server.system.fill(server, settings.scale, RECORD)
    server.start()
    full_up, full_down = small_rates(server, settings)
    return {
        "full_upload": full_up / empty_up,
        "full_get": full_down / empty_down,
        "full_status": milliseconds(f"{server.base}/api/p2p/status"),
        "full_page": milliseconds(f"{server.base}/api/p2p/files?limit=100"),
    }


def small_rates(server, settings: Settings) -> tuple[float, float]:
    """Uploads a second over 64 connections, then GETs of files at random; of each the
    median of three loads."""
    paths = server.directory / "paths"
    paths.write_text("".join(path + "\n" for path in sample(server)))
    url, mode = server.system.upload_url(server), server.system.load

    def median_rate(*load) -> float:
        rates = []
        for _ in range(3):
            quiet()
            rates.append(rate(clients.load(*load, settings.seconds)))
        return statistics.median(rates)

    return median_rate(url, mode, RECORD, 64), median_rate(server.base, "many", paths, 32)


def sample(server) -> list[str]:
    """Paths of about as many files as [`MANY`], spread evenly over all."""
    every = max(1, count(server) // MANY)
    paths, after = [], ""
    while True:
        with urllib.request.urlopen(
            f"{server.base}/api/p2p/files?limit=1000{after}", timeout=60
        ) as answer:
            page = json.load(answer)
        paths += [f"/api/p2p/file/{file['file_id']}" for file in page["files"][::every]]
        if page["next"] is None:
            return paths
        after = f"&after={page['next']}"


def milliseconds(url: str) -> float:
    """The median of some downloads."""
    return statistics.median(clients.download(url) for _ in range(21)) * 1000


def cold(server, settings: Settings) -> dict[str, float]:
    """A read that finds nothing in page cache, and dd of the very file that is stored."""
    url, _ = clients.upload(server, settings.file(settings.size))
    quiet()
    drop_caches()
    seconds = clients.download(url)
    stored = largest_file(server.directory)
    drop_caches()
    began = time.monotonic()
    subprocess.run(
        ["dd", f"if={stored}", "of=/dev/null", "bs=1M"], check=True, stderr=subprocess.DEVNULL
    )
    return {"cold": seconds, "cold_dd": time.monotonic() - began}


def drop_caches():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def largest_file(directory: Path) -> Path:
    files = (path for path in directory.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def dedup(server, settings: Settings) -> dict[str, float]:
    path = settings.file(settings.size)
    clients.upload(server, path)
    quiet()
    before = disk_used(server.directory)
    _, seconds = clients.upload(server, path)
    return {"dedup": seconds, "dedup_grown": (disk_used(server.directory) - before) / MIB}


def disk_used(directory: Path) -> int:
    """In bytes, as the file system counts."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def idle(server, settings: Settings) -> dict[str, float]:
    """Connections that have had one answer and stay open."""
    url, _ = clients.upload(server, settings.file(SMALL))
    clients.download(url)
    before = server.resident()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    held = []
    try:
        with ThreadPoolExecutor(8) as pool:
            held += pool.map(lambda _: connection_used_once(url), range(IDLE))
        memory = server.resident() - before
        if any(connection.sock is None for connection in held):
            raise RuntimeError("a connection was closed")
        answered = clients.download(url)
    finally:
        for connection in held:
            connection.close()
    return {"idle": memory / MIB, "idle_get": answered * 1000}


def connection_used_once(url: str) -> http.client.HTTPConnection:
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.request("GET", where.path)
    connection.getresponse().read()
    return connection


def mixed(server, settings: Settings) -> dict[str, float]:
    """The 99th percentile of small GETs, without and with big transfers beside them."""
    small, _ = clients.upload(server, settings.file(SMALL))
    big, _ = clients.upload(server, settings.file(BIG_SIZE))
    quiet()
    alone = small_load(server, small, settings)
    stop = threading.Event()

    def repeat(transfer) -> int:
        done = 0
        while not stop.is_set():
            transfer()
            done += 1
        return done

    with ThreadPoolExecutor(2 * BIG) as pool:
        gets = [pool.submit(repeat, lambda: clients.download(big)) for _ in range(BIG)]
        path = settings.file(BIG_SIZE)
        uploads = [
            pool.submit(repeat, lambda: clients.upload(server, path)) for _ in range(BIG)
        ]
        try:
            together = small_load(server, small, settings)
        finally:
            stop.set()
        moved = sum(future.result() for future in gets + uploads)
    return {
        "mixed_alone": alone["p99_ms"],
        "mixed": together["p99_ms"],
        "mixed_big": moved * BIG_SIZE / GIB / settings.seconds,
    }


def small_load(server, small: str, settings: Settings) -> dict:
    """What wrk reports of the small GETs, while others upload small files."""
    upload_url, mode = server.system.upload_url(server), server.system.load
    seconds = settings.seconds
    with ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(
            clients.load, upload_url, mode, SMALL, SMALL_UPLOADS, seconds
        )
        gets = clients.load(small, "get", SMALL, SMALL_GETS, seconds)
        rate(uploads.result())
    rate(gets)
    return gets


def groups(settings: Settings) -> list[Group]:
    size = f"{settings.size / GIB:g} GiB"
    return [
        Group(
            "get_many",
            get_many,
            (
                Row("get_many", f"4 KiB GET/s of {MANY:,} files at random", True, 0),
                Row("get_many_p99", "their 99th percentile, ms"),
            ),
            load=True,
        ),
        Group(
            "full",
            full,
            (
                Row("full_upload", f"uploads/s with {settings.scale:,} files, of an empty one's", True),
                Row("full_get", "GET/s of random files with them, of an empty one's", True),
                Row("full_status", "their status, ms", digits=1),
                Row("full_page", "their files?limit=100, ms", digits=1),
            ),
            scale=True,
        ),
        Group(
            "cold",
            cold,
            (
                Row("cold", f"{size} GET from disk, s"),
                Row("cold_dd", "dd of the same stored file, s"),
            ),
        ),
        Group(
            "dedup",
            dedup,
            (
                Row("dedup", f"{size} upload of content that is there, s"),
                Row("dedup_grown", "disk space it takes, MiB", digits=1, ratio=False),
            ),
        ),
        Group(
            "idle",
            idle,
            (
                Row("idle", f"memory of {IDLE:,} idle connections, MiB", digits=1),
                Row("idle_get", "a GET beside them, ms", digits=1),
            ),
        ),
        Group(
            "mixed",
            mixed,
            (
                Row("mixed_alone", "99th percentile of small GETs, small uploads beside, ms"),
                Row("mixed", "the same with big GETs and uploads beside, ms"),
                Row("mixed_big", "GiB/s that these moved", True),
            ),
            load=True,
        ),
    ]
