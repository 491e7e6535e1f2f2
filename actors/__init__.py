"""Durable objects on Postgres."""

from actors.clock import Clock, SystemClock
from actors.database import Database
from actors.migrations import migrate
from actors.queries import Query, load_queries

__all__ = ["Clock", "Database", "Query", "SystemClock", "load_queries", "migrate"]
