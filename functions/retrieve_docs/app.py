"""GET /v1/docs: the API reference as a web page that can make calls; below it are the files that the page asks for."""

import hashlib
from importlib.resources import files
from pathlib import Path

from coherent import api, errors

OURS = Path(__file__).parent
SWAGGER_UI = files("aws_lambda_powertools") / "event_handler/openapi/swagger_ui"
ASSETS = {
    None: (OURS / "page.html", "text/html; charset=utf-8"),
    "openapi.json": (OURS / "openapi.json", "application/json"),
    "start.js": (OURS / "start.js", "text/javascript; charset=utf-8"),
    "style.css": (OURS / "style.css", "text/css; charset=utf-8"),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.min.css", "text/css; charset=utf-8"),
    "swagger-ui.js": (SWAGGER_UI / "swagger-ui-bundle.min.js", "text/javascript; charset=utf-8"),
}
POLICY = "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@api.endpoint("retrieve_docs", takes_user=False)
def handler(request: api.Request) -> api.Response:
    asset = request.path_parameter("asset")
    # From `/docs/` the page would look for its files one level too deep.
    if asset not in ASSETS or request.path.endswith("/"):
        raise errors.PathNotFound
    path, content_type = ASSETS[asset]
    content = path.read_bytes()
    version = int.from_bytes(hashlib.sha256(content).digest()[:7])
    headers = {"Content-Security-Policy": POLICY, "Content-Type": content_type} | api.etag(version)
    if request.has_already(version):
        return api.Response(304, headers=headers)
    return api.Response(200, content.decode(), headers)
