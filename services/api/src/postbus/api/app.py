"""The application: routes, error handlers, and the layer around them."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute

from postbus.api.asgi import Front
from postbus.api.direct import Direct
from postbus.api.errors import install_error_handlers
from postbus.api.health import HealthChecks
from postbus.api.limits import limits_of
from postbus.api.routes import (
    accounts,
    bulk,
    changes,
    docs,
    downloads,
    flush,
    logs,
    mailboxes,
    messages,
    search,
    settings,
    submit,
    system,
    upload,
    verify,
)
from postbus.common.service import Parts


def create_app() -> FastAPI:
    """The routes; they serve once they have their parts."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, strict_content_type=False)
    for router in (
        accounts.router,
        flush.router,
        logs.router,
        messages.mailboxes,
        mailboxes.router,
        messages.router,
        changes.router,
        bulk.router,
        search.router,
        downloads.router,
        upload.router,
        submit.router,
        verify.router,
        settings.router,
        system.router,
        docs.router,
    ):
        app.include_router(router)
    install_error_handlers(app)
    return app


def create_server_app(parts: Parts, app: FastAPI | None = None) -> Front:
    """What the HTTP server runs: the routes with their parts, and the layer around them."""
    app = app or create_app()
    app.state.parts = parts
    app.state.health = HealthChecks(parts)
    app.state.limits = limits_of(parts.config)
    return Front(Direct(app, parts, frequent_routes()), parts)


def frequent_routes() -> list[APIRoute]:
    """The routes that are worth a short way."""
    frequent = (*messages.mailboxes.routes, *messages.router.routes, *search.router.routes)
    return [route for route in frequent if isinstance(route, APIRoute)]
