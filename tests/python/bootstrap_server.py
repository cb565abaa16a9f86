"""The bootstrap server of the older Python service, as its documentation describes it.

Needs nothing but the standard library. PORT 0, the default, takes any free port.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

peers = {}


class Handler(BaseHTTPRequestHandler):
    """POST /register and GET /peers; whatever a query says is not looked at."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/register":
            return self.answer(404, {"error": "not found"})
        peer = json.loads(body)
        peers[peer["peer_id"]] = peer
        self.answer(200, {"status": "registered"})

    def do_GET(self):
        if self.path.split("?")[0] != "/peers":
            return self.answer(404, {"error": "not found"})
        self.answer(200, {"peers": list(peers.values())})

    def answer(self, status, message):
        body = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 0))), Handler)
    print(f"serving http://127.0.0.1:{server.server_port} ", flush=True)
    server.serve_forever()
