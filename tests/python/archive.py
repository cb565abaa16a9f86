# archive.py ARCHIVE FOLDER: reads an archive from its beginning on, as who unpacks it while it comes,
# and by its directory, which must tell the same; unpacks it into FOLDER, and prints what is in it.
import json
import struct
import sys
import zipfile
import zlib


def read_on(archive):
    """Each name with its checksum, without the directory (APPNOTE 4.3)."""
    while archive.read(4) == b"PK\3\4":
        needs, flags, method, _, checksum, packed, size, names, extras = struct.unpack(
            "<HHHIIIIHH", archive.read(26)
        )
        assert (flags, method, checksum) == (0x808, 8, 0)
        name = archive.read(names).decode()
        archive.read(extras)
        inflater, found, length = zlib.decompressobj(-15), 0, 0
        while not inflater.eof:
            piece = inflater.decompress(archive.read(1 << 16))
            found, length = zlib.crc32(piece, found), length + len(piece)
        archive.seek(-len(inflater.unused_data), 1)
        lengths = "<4sIQQ" if needs == 45 else "<4sIII"
        end = struct.unpack(lengths, archive.read(struct.calcsize(lengths)))
        assert (end[0], end[1], end[3]) == (b"PK\7\x08", found, length)
        yield name, found


path, folder = sys.argv[1:]
with open(path, "rb") as file:
    on = list(read_on(file))
with zipfile.ZipFile(path) as archive:
    assert archive.testzip() is None
    files = archive.infolist()
    assert on == [(it.filename, it.CRC) for it in files], (on, files)
    archive.extractall(folder)
    print(json.dumps([[it.filename, it.file_size, it.date_time] for it in files]))
