"""Makes an interface send frames as they go over a wire: `plain_ethernet.py INTERFACE`

A virtual one leaves out checksums and sends segments together, since its other end is in the
same kernel. A switch outside of the kernel cannot make up for that.
"""

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
# ETHTOOL_STXCSUM, ETHTOOL_STSO and ETHTOOL_SGSO of linux/ethtool.h.
OFFLOADS = [0x17, 0x1F, 0x24]

if __name__ == "__main__":
    any_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for offload in OFFLOADS:
        off = array.array("B", struct.pack("II", offload, 0))
        address, _ = off.buffer_info()
        fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP", sys.argv[1].encode(), address))
