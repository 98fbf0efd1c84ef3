"""GET /v1/docs: retrieves the reference page, on which calls can be made, and its files."""

import hashlib
import os
from importlib.resources import files
from pathlib import Path

from coherent import errors
from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response

FOLDER = Path(__file__).parent
SWAGGER_UI = files("aws_lambda_powertools") / "event_handler/openapi/swagger_ui"
ASSETS = {
    None: (FOLDER / "page.html", "text/html; charset=utf-8"),
    "openapi.json": (FOLDER / "openapi.json", "application/json"),
    "start.js": (FOLDER / "start.js", "text/javascript; charset=utf-8"),
    "style.css": (FOLDER / "style.css", "text/css; charset=utf-8"),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.min.css", "text/css; charset=utf-8"),
    "swagger-ui.js": (SWAGGER_UI / "swagger-ui-bundle.min.js", "text/javascript; charset=utf-8"),
}
POLICY = "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@endpoint("retrieve_docs", takes_user=False)
def handler(request: Request) -> Response:
    asset = request.path_parameter("asset")
    # On `/docs/` the page would resolve the URLs of its files one level too deep.
    if asset not in ASSETS or request.path.endswith("/"):
        raise errors.PathNotFound
    path, content_type = ASSETS[asset]
    content = path.read_text()
    if asset == "openapi.json" and (sign_in_url := os.environ.get("SIGN_IN_URL")):
        content = content.replace("https://auth.example.com", sign_in_url)
    version = int.from_bytes(hashlib.sha256(content.encode()).digest()[:7])
    headers = {"Content-Security-Policy": POLICY, "Content-Type": content_type} | etags.header(version)
    if request.is_not_modified(version):
        return Response(304, headers=headers)
    return Response(200, content, headers)
