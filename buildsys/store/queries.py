"""The named queries of `sql/buildsys`, loaded once."""

from __future__ import annotations

from actors import load_queries

QUERIES = load_queries("buildsys")
