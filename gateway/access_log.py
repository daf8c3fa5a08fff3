"""One line for each request: what was asked, how it ended and how long it took; nobody's name, no address."""

from __future__ import annotations

import logging

log = logging.getLogger("gateway.access")


class AccessLog:
    """Writes lines as the setting says: of all requests, of refused ones or of none."""

    def __init__(self, wanted: str) -> None:
        self._all, self._any = wanted == "all", wanted != "none"

    def line(
        self, door: str, method: str, status: str, seconds: float, organization: str, reason: str, trace: str
    ) -> None:
        """Say how a request ended; *reason* is "" for a granted one, *organization* "" for a stranger's."""
        if not (self._all or (self._any and reason)) or not log.isEnabledFor(logging.INFO):
            return
        facts = {"door": door, "method": method, "status": status, "ms": round(seconds * 1000, 1)}
        if organization:
            facts["organization"] = organization
        if reason:
            facts["reason"] = reason
        if trace:
            facts["trace_id"] = trace
        log.info("answered", extra={"facts": facts})
