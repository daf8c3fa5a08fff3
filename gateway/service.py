"""The only wiring of access, the service that the gateway keeps itself."""

from __future__ import annotations

from chassis.laws import Law
from chassis.service import Service
from gateway import jobs
from gateway.personal import ERASE
from gateway.rpc.access_request import AccessRequestRpc
from gateway.rpc.api_key import ApiKeyRpc
from gateway.rpc.audit import AuditRpc
from gateway.rpc.explanation import ExplanationRpc
from gateway.rpc.export import ExportRpc
from gateway.rpc.handover import HandoverItemRpc, HandoverRpc
from gateway.rpc.identity_provider import IdentityProviderRpc
from gateway.rpc.organization import OrganizationRpc
from gateway.rpc.personal_data_request import PersonalDataRequestRpc
from gateway.rpc.role import RoleRpc
from gateway.rpc.session import SessionRpc
from gateway.rpc.team import TeamRpc
from gateway.rpc.territory import TerritoryRpc
from gateway.rpc.totp import TotpRpc
from gateway.rpc.user import UserRpc
from gateway.sagas import COLLECT, MOVE, RETURN
from gateway.store import AccessStore

LAWS = (
    Law(
        "administrators",
        "every organization can be administered by somebody",
        "SELECT display_name FROM organizations o WHERE tenant_id = %(tenant)s AND NOT EXISTS ("
        " SELECT 1 FROM users u WHERE u.tenant_id = o.tenant_id AND state = 'ACTIVE' AND delete_time IS NULL"
        " AND roles @> '[\"roles/administrator\"]'::jsonb)",
        "SELECT count(*) FROM organizations WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "teams",
        "every team hangs on the tree",
        "WITH RECURSIVE reached AS ("
        " SELECT id FROM teams WHERE tenant_id = %(tenant)s AND delete_time IS NULL AND parent = ''"
        " UNION SELECT t.id FROM teams t JOIN reached r ON t.parent = 'teams/' || r.id"
        " WHERE t.tenant_id = %(tenant)s AND t.delete_time IS NULL)"
        " SELECT 'teams/' || id FROM teams WHERE tenant_id = %(tenant)s AND delete_time IS NULL"
        " AND id NOT IN (SELECT id FROM reached)",
        "SELECT count(*) FROM teams WHERE tenant_id = %(tenant)s AND delete_time IS NULL",
    ),
    Law(
        "references of users",
        "the team and the roles of every user are there",
        "SELECT 'users/' || u.id FROM users u WHERE tenant_id = %(tenant)s AND delete_time IS NULL AND ("
        " team <> '' AND NOT EXISTS (SELECT 1 FROM teams t WHERE t.tenant_id = u.tenant_id"
        " AND 'teams/' || t.id = u.team AND t.delete_time IS NULL)"
        " OR EXISTS (SELECT 1 FROM jsonb_array_elements_text(u.roles) name WHERE NOT EXISTS ("
        " SELECT 1 FROM roles r WHERE r.tenant_id = u.tenant_id AND 'roles/' || r.id = name"
        " AND r.delete_time IS NULL)))",
        "SELECT count(*) FROM users WHERE tenant_id = %(tenant)s AND delete_time IS NULL",
    ),
    Law(
        "sessions of the disabled",
        "nobody who is disabled is signed in",
        "SELECT 'sessions/' || s.id FROM sessions s JOIN users u ON u.tenant_id = s.tenant_id"
        " AND 'users/' || u.id = s.owner WHERE s.tenant_id = %(tenant)s AND s.state = 'ACTIVE'"
        " AND u.state = 'DISABLED'",
        "SELECT count(*) FROM sessions WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "passwords",
        "who has a password says since when, and nobody else does",
        "SELECT 'users/' || u.id FROM users u WHERE tenant_id = %(tenant)s AND (password_time IS NOT NULL)"
        " <> EXISTS (SELECT 1 FROM passwords p WHERE p.tenant_id = u.tenant_id AND p.person = u.id)",
        "SELECT count(*) FROM users WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "second factors",
        "who signs in with a second factor has one in use, and nobody else does",
        "SELECT 'users/' || u.id FROM users u WHERE tenant_id = %(tenant)s"
        " AND (second_factor_time IS NOT NULL)"
        " <> EXISTS (SELECT 1 FROM authenticators a WHERE a.tenant_id = u.tenant_id AND a.person = u.id"
        " AND a.secret <> '')",
        "SELECT count(*) FROM users WHERE tenant_id = %(tenant)s",
    ),
)

SERVICE = Service(
    "access", AccessStore,
    rpcs=[OrganizationRpc, UserRpc, TotpRpc, TeamRpc, TerritoryRpc, RoleRpc, SessionRpc, ApiKeyRpc,
          AccessRequestRpc, IdentityProviderRpc, HandoverRpc, HandoverItemRpc, AuditRpc, ExportRpc,
          ExplanationRpc, PersonalDataRequestRpc],
    jobs=jobs, sagas=(COLLECT, MOVE, RETURN, ERASE), checks=LAWS,
    callers=("customer", "opportunity", "contract", "inventory", "analytics"),
    keeps=("analytics", "customer", "inventory"),
    key="gateway", package="gateway",
)  # fmt: skip
