"""A peer in Flask, as anybody would write it from the REST contract.

It stands for the service that larder replaces: `file.save`, `send_file`, metadata in a
dict, the threaded development server. Settings come from the environment: PEER_PORT,
BOOTSTRAP_SERVER (none: no discovery), STORAGE_DIR.
"""

import os
import threading
import time
import uuid
from datetime import datetime, timezone

import requests
from flask import Flask, Response, jsonify, request, send_file
from flask_cors import CORS

PEER_ID = str(uuid.uuid4())
PORT = int(os.environ.get("PEER_PORT", "5004"))
BASE_URL = f"http://localhost:{PORT}"
BOOTSTRAP = os.environ.get("BOOTSTRAP_SERVER")
STORAGE = os.path.abspath(os.environ.get("STORAGE_DIR", "peer_storage"))
DISCOVER_EVERY = 30
TIMEOUT = 5

app = Flask(__name__)
CORS(app)
peers = {}
local_files = {}
announced = {}


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def self_info():
    return {"peer_id": PEER_ID, "address": BASE_URL, "timestamp": now()}


def error(message, status):
    return jsonify({"status": "error", "message": message}), status


def discover_for_ever():
    while True:
        try:
            requests.post(f"{BOOTSTRAP}/register", json=self_info(), timeout=TIMEOUT)
            found = requests.get(f"{BOOTSTRAP}/peers", timeout=TIMEOUT).json()["peers"]
            peers.update({p["peer_id"]: p for p in found if p["peer_id"] != PEER_ID})
        except (requests.RequestException, ValueError, KeyError) as problem:
            app.logger.warning("discovery failed: %s", problem)
        time.sleep(DISCOVER_EVERY)


def announce(info):
    for peer in list(peers.values()):
        try:
            url = f"{peer['address']}/api/p2p/announce"
            requests.post(url, json=info, timeout=TIMEOUT)
        except requests.RequestException as problem:
            app.logger.warning("announcing to %s failed: %s", peer["peer_id"], problem)


@app.get("/api/peers")
def get_peers():
    return jsonify(
        {
            "status": "success",
            "peer_count": len(peers),
            "peers": list(peers.values()),
            "self": self_info(),
        }
    )


@app.post("/api/p2p/upload")
def upload():
    file = request.files.get("file")
    if file is None or not file.filename:
        return error("No file provided", 400)
    file_id = str(uuid.uuid4())
    saved_name = file_id + os.path.splitext(file.filename)[1]
    path = os.path.join(STORAGE, saved_name)
    file.save(path)
    info = {
        "file_id": file_id,
        "original_name": file.filename,
        "saved_name": saved_name,
        "size": os.path.getsize(path),
        "description": request.form.get("description", ""),
        "peer_id": PEER_ID,
        "uploaded_at": now(),
        "download_url": f"{BASE_URL}/api/p2p/file/{file_id}",
    }
    local_files[file_id] = info
    if peers:
        threading.Thread(target=announce, args=(info,), daemon=True).start()
    message = "File uploaded successfully"
    return jsonify({"status": "success", "message": message, "file": info})


@app.get("/api/p2p/file/<file_id>")
def get_file(file_id):
    info = local_files.get(file_id)
    if info is None:
        return error("File not found", 404)
    path = os.path.join(STORAGE, info["saved_name"])
    return send_file(path, as_attachment=True, download_name=info["original_name"])


@app.get("/api/p2p/download/<peer_id>/<file_id>")
def download(peer_id, file_id):
    if peer_id == PEER_ID:
        return get_file(file_id)
    if peer_id not in peers:
        return error("Peer not found", 404)
    url = f"{peers[peer_id]['address']}/api/p2p/file/{file_id}"
    answer = requests.get(url, stream=True, timeout=TIMEOUT)
    if not answer.ok:
        return error("File not found on peer", answer.status_code)
    body = answer.iter_content(chunk_size=8192)
    return Response(body, content_type=answer.headers.get("Content-Type"))


@app.post("/api/p2p/announce")
def take_announcement():
    info = request.get_json()
    announced[info["file_id"]] = info
    return jsonify({"status": "success"})


@app.get("/api/p2p/files")
def files():
    return jsonify(
        {
            "status": "success",
            "peer_id": PEER_ID,
            "file_count": len(local_files),
            "files": list(local_files.values()),
        }
    )


@app.get("/api/p2p/status")
def status():
    return jsonify(
        {
            "status": "success",
            "peer": self_info(),
            "peers_discovered": len(peers),
            "local_files": len(local_files),
            "storage_dir": STORAGE,
        }
    )


@app.get("/health")
def health():
    return jsonify({"status": "healthy"})


if __name__ == "__main__":
    os.makedirs(STORAGE, exist_ok=True)
    if BOOTSTRAP:
        threading.Thread(target=discover_for_ever, daemon=True).start()
    app.run(host="127.0.0.1", port=PORT, threaded=True)
