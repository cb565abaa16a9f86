#!/usr/bin/env python3
"""Stores that speak S3, which tests start on this machine.

  tests/fleet/stores.py NAME COMMAND...    runs a command while a store is there, and tells it by
                                           the environment where and with which keys

NAME       what has to be there
seaweedfs  target/python/bin/weed, of tests/python/requirements.txt
radosgw    Debian's packages ceph-mon, ceph-osd and radosgw
garage     the command garage, of 2.3 or later; written by its documentation, and not run yet
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Of the form that Garage wants, and any other takes.
KEYS = {
    "AWS_ACCESS_KEY_ID": "GK31c2f218a2e44f485b94239e",
    "AWS_SECRET_ACCESS_KEY": "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835",
    "AWS_REGION": "us-east-1",
}
# Where tests look for a store that is there already, whose keys stand beside it.
GIVEN = "STORE_UNDER_TEST"


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in STORES:
        sys.exit(__doc__)
    with servers() as (ending, place):
        url = STORES[sys.argv[1]](ending, place)
        environment = os.environ | KEYS | {GIVEN: url}
        return subprocess.run(sys.argv[2:], env=environment).returncode


@contextlib.contextmanager
def servers():
    """Has all that is started end, and a place for it, in memory where that can be."""
    # So that the servers end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as ending:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        place = Path(ending.enter_context(tempfile.TemporaryDirectory(dir=memory)))
        place.chmod(0o755)
        yield ending, place


def free_ports(count):
    """Below those that connections take by themselves."""
    for first in range(24_000, 32_000, count):
        with contextlib.suppress(OSError), contextlib.ExitStack() as bound:
            for port in range(first, first + count):
                bound.enter_context(socket.create_server(("127.0.0.1", port)))
            return list(range(first, first + count))
    sys.exit("no ports are free")


def wait_for(what, is_so, patience=60):
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > patience:
            sys.exit(f"in vain: {what}")
        time.sleep(0.05)


def filled_in(text, words):
    for word, value in words.items():
        text = text.replace(word, str(value))
    return text


def start(ending, command, log, ask=subprocess.Popen.kill, **options):
    """A server that ends, asked so, when all do."""
    with open(log, "ab") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, **options)

    def end():
        ask(server)
        server.wait()

    ending.callback(end)


def given_or_started(ending, place):
    """The URL of a store with a bucket `larder`, and its keys."""
    if url := os.environ.get(GIVEN):
        return url, {name: os.environ[name] for name in KEYS}
    return seaweedfs(ending, place), KEYS


def until_it_takes_objects(url):
    user = f"{KEYS['AWS_ACCESS_KEY_ID']}:{KEYS['AWS_SECRET_ACCESS_KEY']}"
    request = ["curl", "-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", user, "-X", "PUT"]
    # RGW wants both.
    request += ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-H", "content-length: 0"]
    steps = [f"{url}/larder", f"{url}/larder/trial"]
    wait_for(
        "the store makes a bucket and takes an object",
        lambda: all(subprocess.run([*request, it]).returncode == 0 for it in steps),
    )
    return url


def seaweedfs(ending, place):
    place = place / "seaweedfs"
    place.mkdir()
    names = [
        "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
        "filer.port.grpc", "s3.port.grpc", "s3.port",
    ]
    ports = free_ports(len(names))
    users = """{"identities": [{"name": "larder", "credentials": [
        {"accessKey": "AWS_ACCESS_KEY_ID", "secretKey": "AWS_SECRET_ACCESS_KEY"}],
        "actions": ["Admin", "Read", "Write", "List"]}]}"""
    (place / "users.json").write_text(filled_in(users, KEYS))
    weed = [
        str(ROOT / "target/python/bin/weed"), "server", "-s3", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", "-master.peers=none", "-master.volumeSizeLimitMB=64",
        "-volume.max=300", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=users.json",
        "-dir=.", *(f"-{name}={port}" for name, port in zip(names, ports)),
    ]
    start(ending, weed, place / "log", cwd=place)
    return until_it_takes_objects(f"http://127.0.0.1:{ports[-1]}")


CEPH = """[global]
fsid = FSID
mon_host = v1:127.0.0.1:MON
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = FIRST
ms_bind_port_max = LAST
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
# Asked for that by an OSD that begins, the monitor may refuse it before it has told it of itself.
osd_crush_update_on_start = false
osd_class_update_on_start = false
osd_objectstore = memstore
memstore_device_bytes = 17179869184
# It waits as long for what else is to be changed.
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_data = PLACE/mon
osd_data = PLACE/osd
run_dir = PLACE
pid_file = PLACE/$name.pid
admin_socket =
log_file = PLACE/$name.log
debug_rgw = 0
keyring = PLACE/keyring
crash_dir = PLACE
rgw_data = PLACE
# Without it answers of less than some 20 KiB take 40 ms each.
rgw_frontends = beast endpoint=127.0.0.1:S3 tcp_nodelay=1
# What is removed makes room at once, and not after hours.
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 5
"""


def radosgw(ending, place):
    """One of each of Ceph's servers, over memory."""
    place = place / "radosgw"
    for it in (place, place / "mon", place / "osd"):
        it.mkdir()
    mon, s3, first, *_, last = free_ports(10)
    words = {"FSID": uuid.uuid4(), "MON": mon, "S3": s3, "FIRST": first, "LAST": last,
             "PLACE": place}
    (place / "ceph.conf").write_text(filled_in(CEPH, words))
    (place / "keyring").touch()
    options = {"env": os.environ | {"CEPH_CONF": str(place / "ceph.conf")}}

    def run(*command):
        merged = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        made = subprocess.run(command, timeout=60, **merged, **options)
        return made.returncode == 0 or sys.exit(made.stdout)

    map = str(place / "monmap")
    run("monmaptool", "--create", "--fsid", str(words["FSID"]),
        "--addv", "a", f"[v1:127.0.0.1:{mon}]", map)
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", map)
    start(ending, ["ceph-mon", "-f", "-i", "a"], place / "log", **options)
    disk = str(uuid.uuid4())
    run("ceph", "osd", "new", disk, "0")
    run("ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=this")
    run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", disk)
    start(ending, ["ceph-osd", "-f", "-i", "0"], place / "log", **options)
    run("radosgw-admin", "user", "create", "--uid", "larder", "--display-name", "larder",
        "--access-key", KEYS["AWS_ACCESS_KEY_ID"], "--secret", KEYS["AWS_SECRET_ACCESS_KEY"],
        "--max-buckets", "100000")
    start(ending, ["radosgw", "-f", "-n", "client.rgw"], place / "log", **options)
    return until_it_takes_objects(f"http://127.0.0.1:{s3}")


GARAGE = """metadata_dir = "PLACE/meta"
data_dir = "PLACE/data"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:RPC"
rpc_public_addr = "127.0.0.1:RPC"
rpc_secret = "SECRET"

[s3_api]
api_bind_addr = "127.0.0.1:S3"
s3_region = "us-east-1"
"""


def garage(ending, place):
    place = place / "garage"
    place.mkdir()
    rpc, s3 = free_ports(2)
    words = {"PLACE": place, "RPC": rpc, "SECRET": uuid.uuid4().hex * 2, "S3": s3}
    settings = place / "garage.toml"
    settings.write_text(filled_in(GARAGE, words))
    settings.chmod(0o600)
    environment = os.environ | {
        "GARAGE_DEFAULT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
        "GARAGE_DEFAULT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"],
        "GARAGE_DEFAULT_BUCKET": "larder",
    }
    command = ["garage", "-c", str(settings), "server", "--single-node", "--default-bucket"]
    start(ending, command, place / "log", env=environment)
    return until_it_takes_objects(f"http://127.0.0.1:{s3}")


STORES = {"seaweedfs": seaweedfs, "radosgw": radosgw, "garage": garage}

if __name__ == "__main__":
    sys.exit(main())
