"""Uploads a file by tuspy, going on where an earlier run stopped.

upload.py ENDPOINT FILE URL-STORE
"""

import os.path
import sys

import requests
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

endpoint, path, url_store = sys.argv[1:]
uploader = TusClient(endpoint).uploader(
    path,
    chunk_size=4 << 20,
    retries=100,
    retry_delay=0.1,
    store_url=True,
    url_storage=FileStorage(url_store),
    upload_checksum=True,
    metadata={
        "filename": os.path.basename(path),
        "filetype": "application/x-test",
        "description": "naïve",
    },
)
uploader.upload()
answer = requests.head(uploader.url, headers={"Tus-Resumable": "1.0.0"}, timeout=30)
print(answer.headers["larder-file-id"])
