"""An authenticator app, and people who have one."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.domain.second_factor import STEP
from gateway.second_factor import code_at
from tests.access.conftest import PASSWORD, Person
from tests.access.test_sign_in import shift


@dataclass
class Authenticator:
    """Shows codes of one secret; `again` lets thirty seconds pass instead of waiting for them."""

    person: Person
    secret: bytes
    used: str = ""  # the code that confirmed it
    recovery: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """What it shows now, or so many steps from now."""
        return code_at(self.secret, datetime.now(UTC) + timedelta(seconds=STEP * steps))

    def wrong(self) -> str:
        """A code that is none of those that are good about now."""
        good = {self.code(steps) for steps in range(-2, 3)}
        return next(code for n in range(10) if (code := f"{n:06d}") not in good)

    async def again(self) -> str:
        """The code of now, as if the last one had been used half a minute ago."""
        company, sql = self.person.company, "UPDATE authenticators SET last_step = 0 WHERE person = %s"
        await shift(company.access, company.tenant, sql, self.person.name.removeprefix("users/"))
        return self.code()


async def enrolled(person: Person) -> Authenticator:
    """Somebody who has set up a second factor."""
    made = await person.EnrollTotp(password=PASSWORD)
    app = Authenticator(person, base64.b32decode(made.secret))
    app.used = app.code()
    app.recovery = list((await person.ConfirmTotp(code=app.used)).codes)
    return app


async def challenge_of(person: Person, **more: Any) -> str:
    """The challenge that a sign-in with the right password gets."""
    return (await person.company.sign_in(person.email, **more)).challenge.token
