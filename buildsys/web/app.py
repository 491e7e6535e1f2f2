"""The web application: every route, who may use it, and what is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from buildsys.core.forge import Forge
from buildsys.web import pages
from buildsys.web.auth import ADMIN, PUBLIC, RUNNER, Access, Authentication
from buildsys.web.builds import BuildRoutes
from buildsys.web.dispatches import DispatchRoutes
from buildsys.web.health import HealthRoutes
from buildsys.web.log_feed import HEARTBEAT, LogFeed
from buildsys.web.logs import LogRoutes
from buildsys.web.middleware import add_headers, answer_errors, identify
from buildsys.web.projects import ProjectRoutes
from buildsys.web.runners import RunnerRoutes
from buildsys.web.secrets import ValueRoutes
from buildsys.web.services import (
    Builder,
    Dispatcher,
    Hints,
    LearnSchedules,
    Ready,
    Stores,
    Verification,
    WebSettings,
)
from buildsys.web.tokens import TokenRoutes
from buildsys.web.webhooks import WebhookRoutes

BODY_LIMIT = 1 << 20
"""Bytes of a request's body, where a route does not say otherwise."""

Call = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Those who act on what is asked; `forge` reads its webhooks, `ready` says whether we can serve."""

    builder: Builder
    dispatcher: Dispatcher
    hints: Hints
    forge: Forge
    ready: Ready
    learn_schedules: LearnSchedules
    verification: Verification


class Route(msgspec.Struct, frozen=True):
    """A call, and the roles that may make it."""

    method: str
    path: str
    call: Call
    access: Access


def create_app(
    *, stores: Stores, services: Services, settings: WebSettings, heartbeat: float = HEARTBEAT
) -> web.Application:
    """The application, ready to be served. On shutdown it ends the live logs, whose readers come back elsewhere.

    `heartbeat`: seconds of silence after which a live log says that there is nothing new, and looks whether its reader
    may still read.
    """
    authentication = Authentication(tokens=stores.tokens, settings=settings)
    feed = LogFeed(logs=stores.logs, hints=services.hints, heartbeat=heartbeat)
    app = web.Application(middlewares=[identify, answer_errors], client_max_size=BODY_LIMIT)
    for route in routes(stores=stores, services=services, settings=settings, authentication=authentication, feed=feed):
        app.router.add_route(route.method, route.path, _guarded(route, authentication))

    async def close_feed(_app: web.Application) -> None:
        feed.close()

    app.on_shutdown.append(close_feed)
    app.on_response_prepare.append(add_headers)
    return app


def routes(
    *, stores: Stores, services: Services, settings: WebSettings, authentication: Authentication, feed: LogFeed
) -> list[Route]:
    """All there is."""
    health = HealthRoutes(ready=services.ready)
    webhooks = WebhookRoutes(stores=stores, forge=services.forge, hints=services.hints)
    dispatches = DispatchRoutes(stores=stores, hints=services.hints)
    projects = ProjectRoutes(stores=stores, settings=settings, learn_schedules=services.learn_schedules)
    builds = BuildRoutes(stores=stores, builder=services.builder)
    logs = LogRoutes(stores=stores, feed=feed, authentication=authentication, verification=services.verification)
    tokens = TokenRoutes(stores=stores)
    secrets = ValueRoutes(values=stores.secrets, projects=stores.projects)
    variables = ValueRoutes(values=stores.variables, projects=stores.projects)
    runners = RunnerRoutes(dispatcher=services.dispatcher)
    return [
        Route("GET", "/", pages.index, PUBLIC),
        Route("GET", "/ui/{path:.+}", pages.asset, PUBLIC),
        Route("GET", "/healthz", health.alive, PUBLIC),
        Route("HEAD", "/healthz", health.alive, PUBLIC),
        Route("GET", "/readyz", health.ready, PUBLIC),
        Route("HEAD", "/readyz", health.ready, PUBLIC),
        Route("POST", "/login", authentication.login, PUBLIC),
        Route("POST", "/logout", authentication.logout, ADMIN),
        Route("POST", f"/hooks/{services.forge.name}/{{project}}", webhooks.receive, PUBLIC),
        Route("POST", "/api/v1/projects", projects.create, ADMIN),
        Route("GET", "/api/v1/projects", projects.list, ADMIN),
        Route("GET", "/api/v1/projects/{project}", projects.get, ADMIN),
        Route("PATCH", "/api/v1/projects/{project}", projects.update, ADMIN),
        Route("DELETE", "/api/v1/projects/{project}", projects.delete, ADMIN),
        Route("GET", "/api/v1/projects/{project}/webhook", projects.webhook, ADMIN),
        Route("GET", "/api/v1/projects/{project}/deliveries", projects.deliveries, ADMIN),
        Route("POST", "/api/v1/projects/{project}/dispatches", dispatches.receive, ADMIN),
        Route("GET", "/api/v1/projects/{project}/secrets", secrets.list, ADMIN),
        Route("PUT", "/api/v1/projects/{project}/secrets/{name}", secrets.put, ADMIN),
        Route("DELETE", "/api/v1/projects/{project}/secrets/{name}", secrets.delete, ADMIN),
        Route("GET", "/api/v1/projects/{project}/variables", variables.list, ADMIN),
        Route("PUT", "/api/v1/projects/{project}/variables/{name}", variables.put, ADMIN),
        Route("DELETE", "/api/v1/projects/{project}/variables/{name}", variables.delete, ADMIN),
        Route("POST", "/api/v1/projects/{project}/builds", builds.start, ADMIN),
        Route("GET", "/api/v1/builds", builds.list, ADMIN),
        Route("GET", "/api/v1/builds/{build}", builds.get, ADMIN),
        Route("GET", "/api/v1/builds/{build}/summary", builds.summary, ADMIN),
        Route("POST", "/api/v1/builds/{build}/cancel", builds.cancel, ADMIN),
        Route("POST", "/api/v1/builds/{build}/retry", builds.retry, ADMIN),
        Route("GET", "/api/v1/builds/{build}/logs", logs.read, ADMIN),
        Route("GET", "/api/v1/builds/{build}/logs/verification", logs.verify, ADMIN),
        Route("GET", "/api/v1/secrets", secrets.list, ADMIN),
        Route("PUT", "/api/v1/secrets/{name}", secrets.put, ADMIN),
        Route("DELETE", "/api/v1/secrets/{name}", secrets.delete, ADMIN),
        Route("GET", "/api/v1/variables", variables.list, ADMIN),
        Route("PUT", "/api/v1/variables/{name}", variables.put, ADMIN),
        Route("DELETE", "/api/v1/variables/{name}", variables.delete, ADMIN),
        Route("POST", "/api/v1/tokens", tokens.create, ADMIN),
        Route("GET", "/api/v1/tokens", tokens.list, ADMIN),
        Route("DELETE", "/api/v1/tokens/{token}", tokens.revoke, ADMIN),
        Route("POST", "/api/v1/runner/poll", runners.poll, RUNNER),
        Route("POST", "/api/v1/runner/report", runners.report, RUNNER),
    ]


def _guarded(route: Route, authentication: Authentication) -> Call:
    async def call(request: web.Request) -> web.StreamResponse:
        await authentication.admit(request, route.access)
        return await route.call(request)

    return call
