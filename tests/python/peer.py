"""A peer of the older Python service, as its documentation describes it.

It knows no hashes, no signatures and no ranges, and forgets its metadata when it ends. Needs
nothing but the standard library. PEER_PORT 0, the default, takes any free port. What other
peers announce is shown under "announced_files" by /api/p2p/status.
"""

import json
import os
import shutil
import sys
import threading
import time
import urllib.request
import uuid
from datetime import datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOOTSTRAP_SERVER = os.environ.get("BOOTSTRAP_SERVER", "http://localhost:9000")
DISCOVER_EVERY = float(os.environ.get("DISCOVER_EVERY", 30))
STORAGE_DIR = Path("peer_storage")
TIMEOUT = 30

peer_id = str(uuid.uuid4())
peers = {}
files = {}
announced = {}


def now():
    return datetime.now().isoformat()


def myself(address):
    return {"peer_id": peer_id, "address": address, "timestamp": now()}


def post_json(url, message):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(message).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        answer.read()


def discover(address):
    """Registers and learns of other peers, for ever."""
    while True:
        try:
            post_json(f"{BOOTSTRAP_SERVER}/register", myself(address))
            with urllib.request.urlopen(f"{BOOTSTRAP_SERVER}/peers", timeout=TIMEOUT) as answer:
                for peer in json.load(answer)["peers"]:
                    if peer["peer_id"] != peer_id:
                        peers[peer["peer_id"]] = peer
        except OSError as error:
            print("the bootstrap server does not answer:", error, file=sys.stderr)
        time.sleep(DISCOVER_EVERY)


def announce(file):
    """Tells every known peer of a file."""
    keys = ["file_id", "original_name", "size", "peer_id", "uploaded_at"]
    for peer in list(peers.values()):
        try:
            post_json(f"{peer['address']}/api/p2p/announce", {key: file[key] for key in keys})
        except OSError as error:
            print("a peer does not answer:", error, file=sys.stderr)


def parse_form(content_type, body):
    """The parts of a multipart form, by name: each its file name, if any, and its bytes."""
    boundary = b"\r\n--" + parameter(content_type, "boundary").encode()
    form = {}
    for part in (b"\r\n" + body).split(boundary)[1:-1]:
        head, content = part.split(b"\r\n\r\n", 1)
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "content-disposition":
                form[parameter(value, "name")] = (parameter(value, "filename"), content)
    return form


def parameter(header, name):
    message = Message()
    message["Content-Type"] = header
    return message.get_param(name)


class Handler(BaseHTTPRequestHandler):
    """The documented endpoints."""

    def do_GET(self):
        match self.path.split("?")[0].strip("/").split("/"):
            case ["health"]:
                self.answer(200, {"status": "healthy", "peer_id": peer_id})
            case ["api", "peers"]:
                known = list(peers.values())
                self.answer(200, {"status": "success", "peer_count": len(known), "peers": known,
                                  "self": myself(self.server.address)})
            case ["api", "p2p", "files"]:
                listed = list(files.values())
                self.answer(200, {"status": "success", "peer_id": peer_id,
                                  "file_count": len(listed), "files": listed})
            case ["api", "p2p", "status"]:
                self.answer(200, {"status": "success", "peer": myself(self.server.address),
                                  "peers_discovered": len(peers), "local_files": len(files),
                                  "storage_dir": str(STORAGE_DIR),
                                  "announced_files": list(announced.values())})
            case ["api", "p2p", "file", file_id]:
                self.send_file(file_id)
            case ["api", "p2p", "download", peer, file_id]:
                self.download(peer, file_id)
            case _:
                self.answer(404, {"error": "not found"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.path.strip("/").split("/"):
            case ["api", "p2p", "upload"]:
                self.upload(parse_form(self.headers["Content-Type"], body))
            case ["api", "p2p", "announce"]:
                file = json.loads(body)
                announced[file["peer_id"], file["file_id"]] = file
                self.answer(200, {"status": "success", "message": "Announcement received"})
            case ["api", "peers"]:
                self.answer(405, {"error": "method not allowed"})
            case _:
                self.answer(404, {"error": "not found"})

    def upload(self, form):
        if "file" not in form:
            return self.answer(400, {"error": "no file"})
        name, content = form["file"]
        _, description = form.get("description", (None, b""))
        file_id = str(uuid.uuid4())
        saved_name = file_id + Path(name).suffix
        (STORAGE_DIR / saved_name).write_bytes(content)
        files[file_id] = file = {
            "file_id": file_id, "original_name": name, "saved_name": saved_name,
            "size": len(content), "description": description.decode(), "peer_id": peer_id,
            "uploaded_at": now(),
            "download_url": f"{self.server.address}/api/p2p/file/{file_id}",
        }
        threading.Thread(target=announce, args=(file,), daemon=True).start()
        self.answer(200, {"status": "success", "message": "File uploaded successfully",
                          "file": file})

    def send_file(self, file_id):
        if file_id not in files:
            return self.answer(404, {"error": "File not found"})
        file = files[file_id]
        path = STORAGE_DIR / file["saved_name"]
        with path.open("rb") as content:
            self.send_content(content, path.stat().st_size, file["original_name"])

    def download(self, peer, file_id):
        """Passes a file on from the peer that has it."""
        if peer == peer_id:
            return self.send_file(file_id)
        if peer not in peers:
            return self.answer(404, {"error": "Peer not found"})
        url = f"{peers[peer]['address']}/api/p2p/file/{file_id}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as content:
                self.send_content(content, content.headers["Content-Length"], file_id)
        except OSError as error:
            self.answer(502, {"error": str(error)})

    def send_content(self, content, length, name):
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", f'attachment; filename="{name}"')
        self.send_header("Content-Length", str(length))
        self.end_headers()
        shutil.copyfileobj(content, self.wfile)

    def answer(self, status, message):
        body = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    STORAGE_DIR.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PEER_PORT", 0))), Handler)
    server.address = f"http://localhost:{server.server_port}"
    threading.Thread(target=discover, args=(server.address,), daemon=True).start()
    print(f"serving http://127.0.0.1:{server.server_port} ", flush=True)
    server.serve_forever()
