"""The document, and a page to read and try it; everything it needs comes with the package."""

from __future__ import annotations

import asyncio
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from postbus.api.document import own_document
from postbus.api.requests import PartsOf

router = APIRouter(include_in_schema=False)

_FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "LICENSE": "text/plain; charset=utf-8",
    "NOTICE": "text/plain; charset=utf-8",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain; charset=utf-8",
}
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Postbus API</title>
<link rel="icon" type="image/png" href="/docs/files/favicon-32x32.png">
<link rel="stylesheet" href="/docs/files/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/files/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """window.ui = SwaggerUIBundle({
  url: "/swagger.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  filter: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0
});
"""


@router.get("/")
async def root() -> Response:
    """The docs page is the front page."""
    return RedirectResponse("/docs", 302)


@router.get("/swagger.json")
@router.get("/openapi.json")
async def document(parts: PartsOf) -> Response:
    """The OpenAPI document."""
    body = await asyncio.to_thread(own_document, with_auth=parts.config.auth is not None)
    return Response(body, media_type="application/json")


@router.get("/docs")
@router.get("/docs/")
@router.get("/swagger")
@router.get("/swagger/")
async def page() -> Response:
    """The docs page."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY, "x-content-type-options": "nosniff"})


@router.get("/docs/start.js")
async def start() -> Response:
    """What starts the page: a script of its own, as the page allows no others."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/files/{name}")
async def vendored(name: str) -> Response:
    """A file of swagger-ui."""
    if name not in _FILES:
        raise HTTPException(404)
    content = (files("postbus.api") / "static" / "swagger-ui" / name).read_bytes()
    return Response(content, headers={"content-type": _FILES[name], "cache-control": "public, max-age=86400"})
