"""Uploads, lists, downloads and removes files by a client that was generated from the document.

openapi_client.py GENERATED URL TOKEN: the package is in the directory GENERATED.
"""

import sys
from io import BytesIO

generated, url, token = sys.argv[1:]
sys.path.insert(0, generated)

from larder_client import AuthenticatedClient, Client
from larder_client.api.files import (
    download_file,
    keep,
    list_files,
    put_named_file,
    remove_file,
    upload,
)
from larder_client.models import KeepBodyType0, KeepBodyType1, UploadBody
from larder_client.types import File

client = AuthenticatedClient(base_url=url, token=token)
content = bytes(range(256)) * 1000
file = File(payload=BytesIO(content), file_name="a naïve name.bin", mime_type="a/b")
answer = upload.sync(client=client, body=UploadBody(file=file, description="a greeting"))
first = answer.file
assert answer.status == "success", answer
assert (first.original_name, first.size) == ("a naïve name.bin", len(content)), first
assert (first.content_type, first.description) == ("a/b", "a greeting"), first

raw = File(payload=BytesIO(b"as it is"))
second = put_named_file.sync("other.txt", client=client, body=raw).file
assert (second.original_name, second.size) == ("other.txt", 8), second

listed = list_files.sync(client=client, limit=10).files
assert [it.file_id for it in listed] == [first.file_id, second.file_id], listed
named = list_files.sync(client=client, name="NAÏVE").files
assert [it.hash_ for it in named] == [first.hash_], named

for told, expected in [(first, content), (second, b"as it is")]:
    downloaded = download_file.sync_detailed(told.file_id, client=client)
    assert downloaded.status_code == 200 and downloaded.content == expected

for body in [KeepBodyType0(hash_=first.hash_, original_name="copy"), KeepBodyType1(file_id=first.file_id)]:
    kept = keep.sync_detailed(client=client, body=body)
    # Only this node holds it, so that it is kept.
    assert (kept.status_code, kept.parsed.keep.hash_) == (200, first.hash_), kept

without = Client(base_url=url)
refused = remove_file.sync_detailed(first.file_id, client=without)
assert (refused.status_code, refused.parsed.code) == (401, "no_token"), refused
removed = remove_file.sync_detailed(first.file_id, client=client)
assert removed.status_code == 200, removed
gone = download_file.sync_detailed(first.file_id, client=client)
assert (gone.status_code, gone.parsed.code) == (404, "unknown_file"), gone
# The copy that was kept under a name of its own stays.
left = list_files.sync(client=client).files
assert [it.original_name for it in left] == ["other.txt", "copy"], left
