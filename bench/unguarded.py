"""A process of ours that asks nobody who they are, for this machine alone: see bench/guarded.py."""

from __future__ import annotations

import runpy
import sys
from typing import Any

from stack import layout


def gateway() -> None:
    """Whoever came once is believed ever after, and nobody is looked up again."""
    from gateway.identify import Identifier

    ask, known = Identifier.__call__, dict[str, Any]()

    async def believe(self: Identifier, authorization: str, peer: str, **more: Any) -> Any:
        if authorization not in known:
            known[authorization] = await ask(self, authorization, peer, **more)
        return known[authorization]

    Identifier.__call__ = believe  # type: ignore[method-assign]


def service() -> None:
    """Every token is believed, every method allowed, every record within reach, every field shown."""
    from chassis import scope
    from chassis.rpc import Server

    admit, known = Server._first_call, dict[str, Any]()

    def believe(self: Server, policy: Any, metadata: dict[str, str]) -> Any:
        said = metadata.get("authorization", "")
        if said not in known:
            known[said] = admit(self, policy, said)[1]
        call = known[said].again()
        call.method, call.permission, call.fields = policy.path, policy.permission, None
        return call

    Server._call = believe  # type: ignore[method-assign]
    scope.condition = lambda *_args, **_more: ("", [])  # type: ignore[assignment]


if __name__ == "__main__":
    process = sys.argv[1]
    gateway() if process == layout.GATEWAY else service()
    sys.argv = sys.argv[1:]
    runpy.run_module(f"{layout.module_of(process)}.__main__", run_name="__main__")
