"""An Ethernet switch that loses and delays frames: `lossy_switch.py SHARE SECONDS INTERFACE...`

Every frame that comes in on one interface goes out on all others, so many seconds later, but
for a share that is lost. Runs until its standard input ends, and then prints how many frames
it has lost.

The kernel's `netem` could do the same, but many kernels are made without.
"""

import collections
import random
import selectors
import socket
import sys
import time

ETH_P_ALL = 3
MAX_FRAME = 65536


class Switch:
    """The interfaces and the frames under way."""

    def __init__(self, share, seconds, interfaces):
        self.share, self.seconds, self.lost = share, seconds, 0
        self.ports = [self.open(interface) for interface in interfaces]
        self.waiting = collections.deque()

    @staticmethod
    def open(interface):
        port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        port.bind((interface, 0))
        port.setblocking(False)
        return port

    def run(self, end):
        """Until `end` can be read."""
        selector = selectors.DefaultSelector()
        for file in [*self.ports, end]:
            selector.register(file, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(self.pause()):
                if key.fileobj is end:
                    return
                self.receive(key.fileobj)
            self.send_due()

    def pause(self):
        """How long nothing has to be sent; None for ever."""
        return max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None

    def receive(self, port):
        try:
            frame, sender = port.recvfrom(MAX_FRAME)
        except OSError:  # The interface was set down.
            return
        if sender[2] == socket.PACKET_OUTGOING:
            return
        if random.random() < self.share:
            self.lost += 1
        else:
            self.waiting.append((time.monotonic() + self.seconds, port, frame))

    def send_due(self):
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, source, frame = self.waiting.popleft()
            for port in self.ports:
                if port is not source:
                    self.send(port, frame)

    @staticmethod
    def send(port, frame):
        try:
            port.send(frame)
        except OSError:  # The interface is down, or its queue is full: the frame is lost.
            pass


if __name__ == "__main__":
    switch = Switch(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
    print("switching", flush=True)
    switch.run(sys.stdin)
    print(switch.lost, flush=True)
