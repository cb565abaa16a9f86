"""Has schemathesis send the bytes of resumable uploads."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
schemathesis.serializer.alias("application/vnd.larder.announcements", "application/octet-stream")
