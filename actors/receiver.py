"""Where calls from other nodes come in."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import msgspec
from aiohttp import web

from actors.call import Arrival, Arrivals
from actors.catalog import Catalog
from actors.clock import Clock
from actors.errors import ActorsError
from actors.faults import FaultPoints
from actors.kind import Kind
from actors.lease import Lease
from actors.messages import Batch

MAX_BODY = 64 << 20
"""Bytes of a request from another node, well above what a batch of calls may hold."""

_decode = msgspec.msgpack.Decoder(Batch).decode
_encode = msgspec.msgpack.Encoder().encode


class Receiver:
    """Takes batches of calls from whoever knows the cluster's key, and answers each with its reply, in order."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        kinds: Mapping[str, Kind],
        lease: Lease,
        clock: Clock,
        cluster_key: str,
        faults: FaultPoints,
    ) -> None:
        self._catalog = catalog
        self._kinds = kinds
        self._lease = lease
        self._clock = clock
        self._authorization = f"Bearer {cluster_key}".encode()
        self._faults = faults

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one request. 401: not from this cluster; 503: nothing ran, ask again; 400: nobody understands it."""
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            raise web.HTTPUnauthorized
        body = await _body(request)
        if self._catalog.draining or not self._lease.trusted:
            raise web.HTTPServiceUnavailable
        try:
            batch = _decode(body)
            mailbox = self._catalog.mailbox(batch.id)
        except (msgspec.DecodeError, ActorsError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        self._faults.reach("call_received")
        together = Arrivals(len(batch.calls))
        kind = self._kinds[batch.id.namespace]
        calls = [Arrival(sent, id=batch.id, kind=kind, clock=self._clock, together=together) for sent in batch.calls]
        for call in calls:
            mailbox.submit(call)
        await together.wait()
        return web.Response(body=_encode([call.reply for call in calls]))


async def _body(request: web.Request) -> bytes:
    """The whole body: other nodes may send more than the application takes from strangers."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=len(body))
    return bytes(body)
