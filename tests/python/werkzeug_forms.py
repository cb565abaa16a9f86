"""What Werkzeug makes of forms: for each line of JSON one with the file, or null."""

import base64
import io
import json
import sys

from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request


def taken(content_type, body):
    environ = EnvironBuilder(method="POST").get_environ()
    environ["CONTENT_TYPE"] = content_type
    environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = io.BytesIO(body)
    request = Request(environ)
    try:
        file = request.files.get("file")
        # As the older service refuses a file without a name.
        if file is None or not file.filename:
            return None
        return {
            "name": file.filename,
            "description": request.form.get("description", ""),
            "content": base64.b64encode(file.read()).decode(),
        }
    except (HTTPException, ValueError):
        return None


for line in sys.stdin:
    form = json.loads(line)
    answer = taken(form["content_type"], base64.b64decode(form["body"]))
    print(json.dumps(answer), flush=True)
