"""What the audit trail adds to the tables and functions of every service; see schema for the rules.

The second form of the hash covers every column of a fact: two facts that differ in anything differ in it.
The texts of a fact go into it each behind its length, so that no character can move from one to the next.
"""

TABLES_AUDIT = ("call_places", "checkpoints")

SCHEMA_AUDIT = """
-- place: from where the call came, as the id of a row of `call_places`. concerns: the names of the records
-- that a fact which changed nothing is about. form: how the hash was made. Releases that know
-- none of them leave them out.
ALTER TABLE outbox ADD COLUMN place text NOT NULL DEFAULT '', ADD COLUMN concerns text NOT NULL DEFAULT '',
  ADD COLUMN form smallint NOT NULL DEFAULT 1;

-- Where calls come from. Facts name a place by a keyed digest: forgotten here, nobody can tell it from them.
CREATE TABLE call_places (
  tenant_id uuid NOT NULL, id text NOT NULL, network text NOT NULL, device text NOT NULL,
  PRIMARY KEY (tenant_id, id));

-- Where the chains of other services stood at a moment, under their signatures.
CREATE TABLE checkpoints (
  source text NOT NULL, part smallint NOT NULL, epoch uuid NOT NULL, pos bigint NOT NULL,
  hash bytea NOT NULL, signed_at timestamptz NOT NULL, signature bytea NOT NULL,
  PRIMARY KEY (source, part, epoch, pos));

-- After 31 days the last one of a day stands for it.
CREATE FUNCTION forget_checkpoints() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  WITH gone AS (DELETE FROM public.checkpoints c
    WHERE c.signed_at < clock_timestamp() - interval '31 days' AND EXISTS (
      SELECT 1 FROM public.checkpoints l WHERE l.source = c.source AND l.part = c.part
        AND l.epoch = c.epoch AND l.pos > c.pos AND l.signed_at::date = c.signed_at::date)
    RETURNING 1)
  SELECT count(*) FROM gone;
$$;

-- Array operators are not leakproof: asked by the service's own role, every fact would be looked at.
CREATE FUNCTION outbox_concerning(named text) RETURNS TABLE (record text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT o.record FROM public.outbox o WHERE string_to_array(o.concerns, ' ') @> ARRAY[named]
    AND o.concerns <> '' AND o.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
  ORDER BY o.occurred_at DESC LIMIT 10000;
$$;

CREATE OR REPLACE FUNCTION outbox_number(p smallint, who text, lease double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE head public.outbox_head%ROWTYPE; r record; n bigint := 0; h bytea;
BEGIN
  SELECT * INTO head FROM public.outbox_head WHERE part = p FOR UPDATE;
  IF head.owner IS DISTINCT FROM who AND head.lease_until > clock_timestamp() THEN RETURN -1; END IF;
  h := head.hash;
  FOR r IN SELECT * FROM public.outbox WHERE part = p AND pos IS NULL ORDER BY id LIMIT 1000 LOOP
    n := n + 1;
    h := sha256(h || int2send(p) || int8send(head.pos + n) || uuid_send(r.event_id) || uuid_send(r.tenant_id)
         || int8send(r.record_version) || int2send(r.nth) || timestamptz_send(r.occurred_at)
         || convert_to(concat(length(r.record), ':', r.record, length(r.type), ':', r.type,
              length(r.actor), ':', r.actor, length(r.on_behalf_of), ':', r.on_behalf_of,
              length(r.cause), ':', r.cause, length(r.traceparent), ':', r.traceparent,
              length(r.place), ':', r.place, length(r.concerns), ':', r.concerns), 'UTF8')
         || r.payload);
    UPDATE public.outbox SET pos = head.pos + n, hash = h, form = 2
      WHERE id = r.id AND part = p AND pos IS NULL;
  END LOOP;
  UPDATE public.outbox_head SET pos = head.pos + n, hash = h, owner = who,
         lease_until = clock_timestamp() + make_interval(secs => lease) WHERE part = p;
  RETURN n;
END $$;
"""

# Who is behind a fact: the person for whom a service acted, else who acted. A CASE is known to leak nothing,
# COALESCE is not: under row-level security no index would be looked into for it.
BEHIND = "CASE WHEN on_behalf_of <> '' THEN on_behalf_of ELSE actor END"

# Made while others write: a plain one would hold up every change for as long as it takes.
INDEXES_AUDIT = {
    "outbox_by_time": "(tenant_id, occurred_at, event_id)",
    "outbox_by_person": f"(tenant_id, ({BEHIND}), occurred_at, event_id)",
    "outbox_by_concern": "USING gin (string_to_array(concerns, ' ')) WHERE concerns <> ''",
}
