"""The named queries of `sql/buildsys`, loaded once, and the packages whose migrations make the schema."""

from __future__ import annotations

from actors import load_queries

QUERIES = load_queries("buildsys")

PACKAGES = ("actors", "buildsys")
