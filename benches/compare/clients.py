"""The clients: curl for big transfers, wrk for many small requests."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRANSFER_LIMIT = 600


def upload(server, path: Path) -> tuple[str, float]:
    """Uploads a file: the URL to download it from, and the seconds it took."""
    reply, seconds = curl(server.system.curl_upload(server, path))
    return server.system.download_url(server, path, reply), seconds


def download(url: str) -> float:
    """Downloads to nowhere: the seconds it took."""
    return curl(["-o", "/dev/null", url])[1]


def download_at_once(url: str, clients: int) -> float:
    """Downloads with so many clients at once: the seconds until the last is through."""
    with ThreadPoolExecutor(clients) as pool:
        return max(pool.map(download, [url] * clients))


def curl(arguments: list[str]) -> tuple[str, float]:
    """What the server answered, and curl's own count of the seconds."""
    command = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "-w", "\n%{time_total}"]
    done = subprocess.run(
        command + arguments, capture_output=True, text=True, timeout=TRANSFER_LIMIT
    )
    if done.returncode != 0:
        raise RuntimeError(f"curl {arguments}: {done.stderr}{done.stdout}")
    reply, _, seconds = done.stdout.rpartition("\n")
    return reply, float(seconds)


def upload_many(server, contents) -> list[str]:
    """Uploads small contents over several connections: the URLs to download them from."""
    def upload_one(content: bytes) -> str:
        return server.system.upload_bytes(server, content)

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(upload_one, contents))


def load(url: str, mode: str, size: int | Path, connections: int, seconds: int) -> dict:
    """Many small requests from one thread of wrk; what load.lua reports of them."""
    run = os.urandom(6).hex()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=30s"]
    command += ["-s", str(HERE / "load.lua"), url, "--", mode, str(size), run]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise RuntimeError(f"wrk on {url}: {done.stderr}{done.stdout}")
