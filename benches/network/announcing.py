"""What telling peers of uploads costs a node, and hearing it each of them, in processor time.

    python3 benches/network/announcing.py LARDER [PEERS [UPLOADS]]

Uploads small files, eight at a time, to a node that is alone, and then to one with peers (11 and
16,000 without numbers). All run on this machine, so the rates are of both sides together; the
microseconds are those of each process, from /proc.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS = 8
TICKS = os.sysconf("SC_CLK_TCK")


class Node:
    """A node in a directory of its own."""

    def __init__(self, larder, *arguments):
        self.dir = tempfile.TemporaryDirectory()
        command = [larder, "--discover-every", "30", "--durability", "relaxed", *arguments]
        env = {"LARDER_NO_MDNS": "true", "PEER_PORT": "0", "PATH": os.environ["PATH"]}
        with open(os.path.join(self.dir.name, "log"), "w") as log:
            self.process = subprocess.Popen(
                command, cwd=self.dir.name, env=env, stdout=subprocess.PIPE, stderr=log
            )
        said = self.process.stdout.readline().decode()
        self.port = int(re.search(r"://[^/]*?:(\d+)", said).group(1))

    def seconds(self):
        """The processor time so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def seen(self):
        return json.loads(self.get("/api/p2p/network?limit=1"))["total_files"]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()


def wait_until(is_so):
    deadline = time.time() + 60
    while not is_so():
        assert time.time() < deadline, "in vain"
        time.sleep(0.1)


def upload(port, client, uploads):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(uploads):
        path = f"/api/p2p/upload/{client}-{number}.bin"
        kind = {"Content-Type": "application/octet-stream"}
        connection.request("POST", path, os.urandom(100), kind)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    connection.close()


def measured(larder, peers, uploads):
    """Uploads a second, and microseconds of the teller and of a hearer for each."""
    teller = Node(larder)
    url = f"http://localhost:{teller.port}"
    hearers = [Node(larder, "--peer", url) for _ in range(peers)]

    def all_reached():
        known = json.loads(teller.get("/api/peers"))["peers"]
        return sum(it["reachable"] for it in known) == peers

    wait_until(all_reached)
    before = [node.seconds() for node in [teller, *hearers]]
    began = time.time()
    clients = [
        threading.Thread(target=upload, args=(teller.port, client, uploads // CLIENTS))
        for client in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.time() - began
    time.sleep(1)
    spent = [node.seconds() - it for node, it in zip([teller, *hearers], before, strict=True)]
    heard = sum(node.seen() for node in hearers) / max(peers, 1)
    for node in [teller, *hearers]:
        node.end()
    each = [it / uploads * 1e6 for it in spent]
    return uploads / took, each[0], sum(each[1:]) / max(peers, 1), heard


def main():
    larder = os.path.abspath(sys.argv[1])
    peers = int(sys.argv[2]) if len(sys.argv) > 2 else 11
    uploads = int(sys.argv[3]) if len(sys.argv) > 3 else 16_000
    rate, alone, _, _ = measured(larder, 0, uploads)
    print(f"alone: {rate:.0f} uploads/s, {alone:.1f} us of processor an upload")
    rate, teller, hearer, heard = measured(larder, peers, uploads)
    print(f"with {peers} peers: {rate:.0f} uploads/s, {teller:.1f} us an upload,", end=" ")
    print(f"{hearer:.1f} us at each that hears it; {heard:.0f} of {uploads} were heard at once")
    told = (teller - alone) / peers
    print(f"an announcement: {told:.1f} us an upload and peer")
    print(f"in processor time {alone / teller:.0%} of the uploads of one that is alone")


if __name__ == "__main__":
    main()
