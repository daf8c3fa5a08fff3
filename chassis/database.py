"""Connections to one service's PostgreSQL: psycopg under SQLAlchemy's pool.

SQLAlchemy's pool gives connections back whole when a task is cancelled; psycopg's own lost some.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.kernel.refusals import Refused


def _driver_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError("a database URL begins with postgresql://")
    return f"postgresql+psycopg://{rest}"


class Database:
    """A bounded pool of connections; a full one answers OVERLOADED, an absent server UNAVAILABLE."""

    def __init__(self, url: str, size: int = 10) -> None:
        self.url = url
        self.engine = create_async_engine(
            _driver_url(url), pool_size=size, max_overflow=0, pool_timeout=5, pool_recycle=1800,
            isolation_level="AUTOCOMMIT", pool_use_lifo=True,
            connect_args={
                "connect_timeout": 5, "prepare_threshold": 0,
                "options": "-c timezone=UTC -c lock_timeout=2000"
                " -c idle_in_transaction_session_timeout=10000",
            },
        )  # fmt: skip
        event.listen(self.engine.sync_engine, "connect", _prepare)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in autocommit mode; a broken one is thrown away, not given back."""
        try:
            lease = await self.engine.connect()
        except exc.TimeoutError:
            raise Refused("OVERLOADED", limit="all database connections are busy") from None
        except (exc.DBAPIError, psycopg.OperationalError, psycopg.InterfaceError, OSError):
            raise Refused("UNAVAILABLE", what="the database") from None
        try:
            raw = await lease.get_raw_connection()
            driver: psycopg.AsyncConnection[Any] = raw.driver_connection  # type: ignore[assignment]
            try:
                yield driver
            except (psycopg.Error, asyncio.CancelledError):
                # A pipeline that broke off may have lost what the driver believes to be prepared.
                await lease.invalidate()
                raise
            finally:
                idle = psycopg.pq.TransactionStatus.IDLE
                if not driver.closed and driver.info.transaction_status != idle:
                    await lease.invalidate()
        finally:
            await lease.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _prepare(connection: Any, _record: Any) -> None:
    # One integer width for every parameter: otherwise each size of number prepares a statement anew.
    driver = connection.driver_connection
    driver.adapters.register_dumper(int, Int8Dumper)
    driver.prepared_max = 500
