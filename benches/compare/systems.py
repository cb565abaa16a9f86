"""The systems that are compared: how each is started and talked to."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILL_LIMIT = 3600


class System:
    """A file server. `load` names the mode of load.lua that uploads to it."""

    key = ""
    name = ""
    # Whether it still has its files after a restart, and can count them.
    keeps_records = False
    ready_path = "/"
    load = "put"

    def version(self) -> str:
        raise NotImplementedError

    def configure(self, server):
        """Writes what it needs into the server's directory."""

    def command(self, server) -> list[str]:
        raise NotImplementedError

    def environment(self, _server) -> dict[str, str]:
        return {}

    def upload_url(self, server) -> str:
        """Where uploads go; for PUT, the name is appended."""
        return f"{server.base}/"

    def curl_upload(self, server, path: Path) -> list[str]:
        return ["-T", str(path), self.upload_url(server) + path.name]

    def upload_bytes(self, server, content: bytes) -> str:
        """Uploads a short content: the URL to download it from."""
        url = f"{self.upload_url(server)}{os.urandom(12).hex()}"
        request = urllib.request.Request(url, content, method="PUT")
        urllib.request.urlopen(request, timeout=60).close()
        return url

    def download_url(self, server, path: Path, _reply: str) -> str:
        """Where an uploaded file is found, by what the upload answered."""
        return self.upload_url(server) + path.name


class Nginx(System):
    """sendfile for GET; DAV PUT, which neither hashes nor syncs."""

    key = name = "nginx"

    def version(self) -> str:
        printed = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True)
        return printed.stderr.strip().rpartition("/")[2]

    def configure(self, server):
        user = "user root;" if os.geteuid() == 0 else ""
        for name in ("data", "temp"):
            (server.directory / name).mkdir()
        # The data stand on the file system of the temporary files: PUT ends in a rename.
        (server.directory / "nginx.conf").write_text(f"""
{user}
daemon off;
worker_processes 2;
pid {server.directory}/nginx.pid;
error_log {server.directory}/error.log;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {server.directory}/temp;
    proxy_temp_path {server.directory}/temp;
    fastcgi_temp_path {server.directory}/temp;
    uwsgi_temp_path {server.directory}/temp;
    scgi_temp_path {server.directory}/temp;
    server {{
        listen 127.0.0.1:{server.port};
        root {server.directory}/data;
        dav_methods PUT DELETE;
    }}
}}
""")

    def command(self, server) -> list[str]:
        directory = server.directory
        # Until it has read its settings it logs where -e says.
        errors = str(directory / "error.log")
        return ["nginx", "-e", errors, "-p", str(directory), "-c", str(directory / "nginx.conf")]


class Dufs(System):
    """A file server in Rust: GET, and PUT, which neither hashes nor syncs."""

    key = name = "dufs"

    def __init__(self, binary: Path):
        self.binary = binary

    def version(self) -> str:
        printed = subprocess.run(
            [self.binary, "--version"], capture_output=True, text=True, check=True
        )
        return printed.stdout.strip().rpartition(" ")[2]

    def configure(self, server):
        (server.directory / "data").mkdir()

    def command(self, server) -> list[str]:
        where = ["--bind", "127.0.0.1", "--port", str(server.port)]
        # No access log: nginx writes none either.
        quiet = ["--log-format", ""]
        # To replace a file, as some rows do, is to delete one.
        allowed = ["--allow-upload", "--allow-delete"]
        return [str(self.binary), *where, *quiet, *allowed, str(server.directory / "data")]


class Peer(System):
    """What speaks the REST contract."""

    ready_path = "/health"
    load = "multipart"

    def upload_url(self, server) -> str:
        return f"{server.base}/api/p2p/upload"

    def curl_upload(self, server, path: Path) -> list[str]:
        return ["-F", f"file=@{path}", self.upload_url(server)]

    def upload_bytes(self, server, content: bytes) -> str:
        head = 'Content-Disposition: form-data; name="file"; filename="small"'
        form = b"--part\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n--part--\r\n"
        form_type = {"Content-Type": "multipart/form-data; boundary=part"}
        request = urllib.request.Request(self.upload_url(server), form, form_type)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return self.download_url(server, None, answer.read().decode())

    def download_url(self, server, _path: Path | None, reply: str) -> str:
        return f"{server.base}/api/p2p/file/{json.loads(reply)['file']['file_id']}"


class Flask(Peer):
    """The older service: Flask's threaded development server."""

    key = "flask"
    name = "Flask peer"

    def version(self) -> str:
        code = "from importlib.metadata import version; print(version('flask'))"
        printed = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return printed.stdout.strip()

    def command(self, _server) -> list[str]:
        return [sys.executable, str(HERE / "flask_peer.py")]

    def environment(self, server) -> dict[str, str]:
        return {"PEER_PORT": str(server.port), "STORAGE_DIR": str(server.directory / "data")}


class Larder(Peer):
    """This project; with `always` each answer waits for a sync, with `relaxed` none does."""

    keeps_records = True

    def __init__(self, binary: Path, durability: str, called: str = "larder"):
        self.binary = binary
        self.durability = durability
        self.key = f"{called}-{durability}"
        self.name = f"{called} {durability}"

    def version(self) -> str:
        printed = subprocess.run(
            [self.binary, "--version"], capture_output=True, text=True, check=True
        )
        return printed.stdout.strip().rpartition(" ")[2]

    def command(self, server) -> list[str]:
        # nginx writes no access log either.
        return [
            str(self.binary),
            "serve",
            f"--listen=127.0.0.1:{server.port}",
            f"--storage={server.directory / 'data'}",
            f"--durability={self.durability}",
            "--log=warn",
        ]

    def fill(self, server, records: int, size: int):
        """Puts so many files into the storage directory of a server that does not run."""
        generator = self.binary.parent / "examples" / "fill"
        command = [generator, server.directory / "data", str(records), str(size)]
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=FILL_LIMIT)


def all_systems(larder: Path, dufs: Path, before: Path | None) -> list[System]:
    """Every system there is; ratios are to the first."""
    ways = ("always", "relaxed")
    ours = [Larder(larder, way) for way in ways]
    older = [Larder(before, way, "before") for way in ways] if before else []
    return [Nginx(), Dufs(dufs), Flask(), *older, *ours]
