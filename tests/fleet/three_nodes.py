"""Stands in for the binary of a node: where it would run one, it runs three over one database and
one bucket, behind a proxy that gives each connection to the next of them. Whatever else it is asked
for, the binary itself does.

The nodes that are started over the same storage directory have the same database and bucket. What
they get of settings beside those of the command says the environment:

FLEET_BINARY       the binary
FLEET_DATABASES     the URL of a PostgreSQL server, without a database
FLEET_BLOBS         the bucket, as --blobs has it
FLEET_S3_ENDPOINT   where the store is
"""

import ctypes
import hashlib
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

NODES = 3
PR_SET_PDEATHSIG = 1
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1


def main():
    arguments = sys.argv[1:]
    if not is_node(arguments):
        binary = os.environ["FLEET_BINARY"]
        os.execv(binary, [binary, *arguments])
    sys.exit(Fleet(arguments).run())


def is_node(arguments):
    """Whether they run a node: `serve`, or settings alone, which each are a flag and its value."""
    if {"--help", "-h", "--version", "-V"} & set(arguments):
        return False
    if "serve" in arguments[:1]:
        return True
    before = ["", *arguments]
    return all(it.startswith("-") or last.startswith("-") for last, it in zip(before, arguments))


def option(arguments, name):
    """The value of an option, and the arguments without it."""
    rest, value, at = [], None, 0
    while at < len(arguments):
        if arguments[at] == name and at + 1 < len(arguments):
            value, at = arguments[at + 1], at + 2
        elif arguments[at].startswith(name + "="):
            value, at = arguments[at].partition("=")[2], at + 1
        else:
            rest.append(arguments[at])
            at += 1
    return value, rest


class Fleet:
    def __init__(self, arguments):
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FLEET_")
        }
        storage, arguments = option(arguments, "--storage")
        port, arguments = option(arguments, "--port")
        listen, self.arguments = option(arguments, "--listen")
        self.storage = storage or os.environ.get("STORAGE_DIR", "peer_storage")
        listen = listen or os.environ.get("LARDER_LISTEN", "127.0.0.1")
        host, colon, named = listen.rpartition(":")
        self.host = host if colon and named.isdigit() else listen
        port = named if colon and named.isdigit() else port or os.environ.get("PEER_PORT", "5004")
        self.listener = socket.create_server((self.host, int(port)), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.nodes, self.addresses, self.is_asked_to_end = [], [], False

    def run(self):
        self.make_database()
        for name in ("TERM", "INT", "HUP", "USR1", "USR2"):
            signal.signal(getattr(signal, "SIG" + name), self.forward)
        # The first one alone: what is wrong with settings is told once.
        line = self.start(1)
        if line is None:
            return self.nodes[0].wait()
        for number in range(2, NODES + 1):
            if self.start(number) is None:
                return self.end()
        own = str(self.addresses[0][1])
        threading.Thread(target=self.accept, daemon=True).start()
        print(line.replace(own, str(self.port)), end="", flush=True)
        sys.stdout.close()
        return self.wait()

    def make_database(self):
        """One of its own, and a part of the bucket, for each storage directory."""
        place = os.path.abspath(self.storage).encode()
        name = "d" + hashlib.sha256(place).hexdigest()[:24]
        server = os.environ["FLEET_DATABASES"]
        made = subprocess.run(
            ["psql", "-q", "-d", f"{server}/postgres", "-c", f"CREATE DATABASE {name}"],
            capture_output=True,
            text=True,
        )
        if made.returncode != 0 and "already exists" not in made.stderr:
            sys.exit(made.stderr)
        self.environment |= {
            "LARDER_INDEX": f"{server}/{name}",
            "LARDER_BLOBS": f"{os.environ['FLEET_BLOBS']}/{name}",
            "LARDER_S3_ENDPOINT": os.environ["FLEET_S3_ENDPOINT"],
            "LARDER_LEASE": "2s",
            "LARDER_GC_GRACE": "1s",
        }
        self.environment.setdefault("BASE_URL", f"http://localhost:{self.port}")

    def start(self, number):
        """Starts a node, and gives what it says when it serves; None where it does not."""
        storage = self.storage if number == 1 else f"{self.storage}.{number}"
        arguments = [*self.arguments, "--storage", storage, "--listen", f"{self.host}:0"]
        if "serve" not in arguments:
            arguments.insert(0, "serve")
        node = subprocess.Popen(
            [os.environ["FLEET_BINARY"], *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        self.nodes.append(node)
        line = node.stdout.readline()
        if not line:
            return None
        _, _, address = line.partition("(listens on ")
        if not address:
            _, _, address = line.rpartition("://")
        port = address.split()[0].rstrip(")").rpartition(":")[2]
        self.addresses.append((self.host if self.host != "0.0.0.0" else "127.0.0.1", int(port)))
        return line

    def forward(self, number, _frame):
        self.is_asked_to_end |= number in (signal.SIGTERM, signal.SIGINT)
        for node in self.nodes:
            if node.poll() is None:
                node.send_signal(number)

    def wait(self):
        """Until all have ended as they were asked to, or one by itself."""
        statuses = []
        for node in itertools.cycle(self.nodes):
            try:
                statuses.append(node.wait(0.05))
            except subprocess.TimeoutExpired:
                continue
            if not self.is_asked_to_end:
                return self.end()
            if all(node.poll() is not None for node in self.nodes):
                return max(abs(node.returncode) for node in self.nodes)

    def end(self):
        for node in self.nodes:
            node.kill()
        return max(abs(node.wait()) for node in self.nodes)

    def accept(self):
        for address in itertools.cycle(self.addresses):
            client, _ = self.listener.accept()
            threading.Thread(target=relay, args=(client, address), daemon=True).start()


def relay(client, address):
    try:
        node = socket.create_connection(address)
    except OSError:
        reset(client)
        client.close()
        return
    for end in (client, node):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=pump, args=(node, client), daemon=True)
    back.start()
    pump(client, node, until_read)
    back.join()
    client.close()
    node.close()


def pump(source, target, until_taken=lambda _: None):
    """Everything from one end to the other, its end included, whichever way it ends; each piece is
    left where it came from until it is taken."""
    try:
        while piece := source.recv(1 << 18, socket.MSG_PEEK):
            target.sendall(piece)
            until_taken(target)
            source.recv(len(piece), socket.MSG_WAITALL)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        reset(source)
        reset(target)


def until_read(end):
    """Until the process at the other end of a connection on this machine has read all that was sent,
    so that a client which looks whether the proxy has, sees whether the node has."""
    pause = 0.0001
    while unread(end) > 0:
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def unread(end):
    """How many bytes the other end of a connection has yet to read (sock_diag(7))."""
    (near, near_port), (far, far_port) = end.getsockname(), end.getpeername()
    addresses = [socket.inet_aton(it).ljust(16, b"\0") for it in (far, near)]
    ports = struct.pack("!HH", far_port, near_port)
    no_cookie = b"\xff" * 8
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
    request += ports + b"".join(addresses) + struct.pack("=I", 0) + no_cookie
    head = struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as diag:
        diag.send(head + request)
        answer = diag.recv(4096)
    # Behind the head: what the socket is, its id, when it expires.
    queue = 16 + 4 + 48 + 4
    (kind,) = struct.unpack_from("=H", answer, 4)
    return struct.unpack_from("=I", answer, queue)[0] if kind == SOCK_DIAG_BY_FAMILY else 0


def reset(end):
    """Has it end as a connection that is reset, once it is closed."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


main()
