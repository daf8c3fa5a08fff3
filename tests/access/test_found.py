"""An organization begins from the command line, once."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from chassis.call import new_id
from tests.access.conftest import PASSWORD, Company
from tests.platform import Running


async def bootstrap(access: Running, password: str, *arguments: str) -> tuple[int, str, str]:
    """What `python -m gateway bootstrap` said."""
    settings = access.runtime.settings
    env = {**os.environ, "DATABASE_URL_ACCESS": settings.database_url, "TRADEWIND_KEYS": str(settings.keys)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "bootstrap", *arguments, env=env,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(password.encode() + b"\n")
    return process.returncode or 0, out.decode(), err.decode()


async def test_it_is_founded_once_and_its_administrator_signs_in(company: Company, access: Running) -> None:
    name, email = f"公司 {new_id()}", f"{new_id()}@example.com"
    wanted = ("--organization", name, "--email", email, "--locale", "zh-CN", "--currency", "CNY")
    code, out, err = await bootstrap(access, "password1234", *wanted)
    assert (code, out) == (1, "") and "tried first" in err
    code, out, err = await bootstrap(access, PASSWORD, *wanted)
    assert code == 0, err
    made = json.loads(out)
    assert (await bootstrap(access, "not the same password", *wanted))[:2] == (0, out)
    sign_in = await company.sign_in(email, organization=name)
    assert sign_in.user.name == made["user"]
    me = await company.call("GetMe", sign_in.access_token)
    assert (me.organization.name, me.organization.display_name) == (made["organization"], name)
