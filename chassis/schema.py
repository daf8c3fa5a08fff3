"""The tables and functions every service has, as the first migration of each installs them.

What a release has shipped is never edited here: a later change is a new text and a migration per service.
The sequencer and the lists of due work look across organizations, which the service's own role may not:
they are functions that run as the owner of the tables, with a fixed search_path, and answer names and
positions to the process itself.
"""

from chassis.audit.schema import TABLES_AUDIT

TABLES_1 = ("answers", "outbox", "outbox_head", "event_cursor", "parked_events", "number_series",
            "tenants", "sagas", "jobs")  # fmt: skip

SCHEMA_1 = """
-- What was answered to which request_id: asked again, answered the same.
CREATE TABLE answers (
  tenant_id uuid NOT NULL, principal text NOT NULL, method text NOT NULL, request_id text NOT NULL,
  request_hash bytea NOT NULL, refused boolean NOT NULL, response bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, principal, method, request_id));
CREATE INDEX answers_by_age ON answers (created_at);

-- Facts, written with the change that made them; the sequencer fills pos and hash after the commit.
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY, part smallint NOT NULL, event_id uuid NOT NULL,
  tenant_id uuid NOT NULL, record text NOT NULL, record_version bigint NOT NULL, nth smallint NOT NULL,
  type text NOT NULL, payload bytea NOT NULL,
  actor text NOT NULL, on_behalf_of text NOT NULL, cause text NOT NULL, traceparent text NOT NULL,
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  pos bigint, hash bytea,
  PRIMARY KEY (tenant_id, record, record_version, nth));
CREATE UNIQUE INDEX outbox_by_pos ON outbox (part, pos) WHERE pos IS NOT NULL;
CREATE INDEX outbox_pending ON outbox (part, id) WHERE pos IS NULL;
CREATE TABLE outbox_head (
  part smallint PRIMARY KEY, epoch uuid NOT NULL, pos bigint NOT NULL DEFAULT 0,
  published bigint NOT NULL DEFAULT 0, hash bytea NOT NULL, owner text, lease_until timestamptz);
INSERT INTO outbox_head (part, epoch, hash)
  SELECT p, gen_random_uuid(), ''::bytea FROM generate_series(0, 3) p;

-- How far this service got with each other one.
CREATE TABLE event_cursor (
  source text, part smallint, epoch uuid NOT NULL, pos bigint NOT NULL, PRIMARY KEY (source, part));
CREATE TABLE parked_events (
  tenant_id uuid NOT NULL, source text NOT NULL, part smallint NOT NULL, pos bigint NOT NULL,
  record text NOT NULL, event bytea NOT NULL, problem text NOT NULL,
  parked_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (tenant_id, source, part, pos));

CREATE TABLE number_series (
  tenant_id uuid NOT NULL, series text NOT NULL, last bigint NOT NULL, PRIMARY KEY (tenant_id, series));
CREATE TABLE tenants (id uuid PRIMARY KEY);

CREATE TABLE sagas (
  tenant_id uuid NOT NULL, id text NOT NULL, type text NOT NULL, record text NOT NULL,
  version bigint NOT NULL, step integer NOT NULL, state text NOT NULL, attempts integer NOT NULL,
  next_at timestamptz NOT NULL,
  deadline_at timestamptz NOT NULL, data jsonb NOT NULL, history jsonb NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE INDEX sagas_by_due ON sagas (next_at) WHERE state IN ('RUNNING', 'COMPENSATING');
CREATE INDEX sagas_by_record ON sagas (tenant_id, record);

CREATE TABLE jobs (
  name text PRIMARY KEY, owner text, lease_until timestamptz,
  next_at timestamptz NOT NULL DEFAULT clock_timestamp());

CREATE FUNCTION guard(ok boolean, what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT ok THEN RAISE EXCEPTION USING ERRCODE = 'TW001', MESSAGE = what; END IF;
  RETURN true;
END $$;

CREATE FUNCTION outbox_number(p smallint, who text, lease double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE head public.outbox_head%ROWTYPE; r record; n bigint := 0; h bytea;
BEGIN
  SELECT * INTO head FROM public.outbox_head WHERE part = p FOR UPDATE;
  IF head.owner IS DISTINCT FROM who AND head.lease_until > clock_timestamp() THEN RETURN -1; END IF;
  h := head.hash;
  FOR r IN SELECT id, event_id, tenant_id, record, record_version, type, payload, actor, cause
           FROM public.outbox WHERE part = p AND pos IS NULL ORDER BY id LIMIT 1000 LOOP
    n := n + 1;
    h := sha256(h || uuid_send(r.event_id) || uuid_send(r.tenant_id)
         || convert_to(concat_ws(' ', r.record, r.record_version, r.type, r.actor, r.cause), 'UTF8')
         || r.payload);
    UPDATE public.outbox SET pos = head.pos + n, hash = h WHERE id = r.id AND part = p AND pos IS NULL;
  END LOOP;
  UPDATE public.outbox_head SET pos = head.pos + n, hash = h, owner = who,
         lease_until = clock_timestamp() + make_interval(secs => lease) WHERE part = p;
  RETURN n;
END $$;

CREATE FUNCTION outbox_published(p smallint, who text, upto bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  UPDATE public.outbox_head SET published = greatest(published, upto) WHERE part = p AND owner = who;
$$;

CREATE FUNCTION outbox_release(who text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  UPDATE public.outbox_head SET owner = NULL, lease_until = NULL WHERE owner = who;
$$;

CREATE FUNCTION outbox_read(p smallint, first bigint, most integer)
RETURNS TABLE (part smallint, event_id text, tenant_id text, record text, record_version bigint,
  type text, payload bytea, actor text, on_behalf_of text, cause text, traceparent text,
  occurred_at timestamptz, pos bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT part, event_id::text, tenant_id::text, record, record_version, type, payload, actor,
    on_behalf_of, cause, traceparent, occurred_at, pos FROM public.outbox
  WHERE part = p AND pos >= first ORDER BY pos LIMIT most;
$$;

CREATE FUNCTION sagas_due(most integer) RETURNS TABLE (tenant_id text, id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT s.tenant_id::text, s.id FROM public.sagas s
  WHERE s.state IN ('RUNNING', 'COMPENSATING') AND s.next_at <= clock_timestamp()
  ORDER BY s.next_at LIMIT most;
$$;
CREATE FUNCTION parked() RETURNS TABLE (organization text, record text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT p.tenant_id::text, p.record FROM public.parked_events p;
$$;
CREATE FUNCTION forget_answers(older interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  WITH gone AS (DELETE FROM public.answers WHERE created_at < clock_timestamp() - older RETURNING 1)
  SELECT count(*) FROM gone;
$$;
"""

# What a process tells of its service (chassis/gauges.py), and what the laws said last.
TABLES_2 = ("law_verdicts",)

SCHEMA_2 = """
CREATE TABLE law_verdicts (
  law text PRIMARY KEY, counted bigint NOT NULL, broken bigint NOT NULL, asked_at timestamptz NOT NULL);

CREATE FUNCTION measures() RETURNS TABLE (what text, labels jsonb, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT 'outbox_position', jsonb_build_object('partition', part::text), pos::double precision
    FROM public.outbox_head
  UNION ALL
  SELECT 'outbox_unpublished', jsonb_build_object('partition', part::text),
    (pos - published)::double precision FROM public.outbox_head
  UNION ALL
  SELECT 'outbox_unnumbered', jsonb_build_object('partition', h.part::text),
    (SELECT count(*) FROM public.outbox o WHERE o.part = h.part AND o.pos IS NULL)::double precision
    FROM public.outbox_head h
  UNION ALL
  SELECT 'event_position', jsonb_build_object('source', source, 'partition', part::text),
    pos::double precision FROM public.event_cursor
  UNION ALL
  SELECT 'events_parked', jsonb_build_object('source', source), count(*)::double precision
    FROM public.parked_events GROUP BY source
  UNION ALL
  SELECT 'sagas', jsonb_build_object('type', type, 'state', state), count(*)::double precision
    FROM public.sagas WHERE state IN ('RUNNING', 'COMPENSATING') GROUP BY type, state
  UNION ALL
  SELECT 'sagas', jsonb_build_object('type', type, 'state', state), count(*)::double precision
    FROM public.sagas WHERE state = 'STUCK' GROUP BY type, state
  UNION ALL
  SELECT 'saga_oldest_seconds', jsonb_build_object('type', type),
    extract(epoch FROM clock_timestamp() - min(deadline_at) + interval '24 hours')::double precision
    FROM public.sagas WHERE state IN ('RUNNING', 'COMPENSATING') GROUP BY type
  UNION ALL
  SELECT 'law_broken', jsonb_build_object('law', law), broken::double precision FROM public.law_verdicts
  UNION ALL
  SELECT 'law_counted', jsonb_build_object('law', law), counted::double precision FROM public.law_verdicts
  UNION ALL
  SELECT 'laws_asked_timestamp_seconds', '{}', extract(epoch FROM min(asked_at))::double precision
    FROM public.law_verdicts HAVING count(*) > 0;
$$;
-- A saga that waits for a person is rare: found without reading those that are done.
CREATE INDEX sagas_stuck ON sagas (type) WHERE state = 'STUCK';
"""

# Restorations and the length of the outbox.
TABLES_3 = ("outbox_branches", "reconciled")

SCHEMA_3 = """
-- What became of an epoch that a restoration ended: up to pos its facts are facts still, and since a
-- moment they are gone.
CREATE TABLE outbox_branches (
  part smallint NOT NULL, epoch uuid NOT NULL, pos bigint NOT NULL, since timestamptz NOT NULL,
  PRIMARY KEY (part, epoch));

-- version_floor: no change gets a lower version, so that none of those that a restoration took back comes
-- again. purged: facts up to this position are kept no more, and with which hash their chain ended.
ALTER TABLE outbox_head ADD COLUMN version_floor bigint NOT NULL DEFAULT 0,
  ADD COLUMN purged bigint NOT NULL DEFAULT 0, ADD COLUMN purged_hash bytea;

-- What was taken back, or has to be looked at, because another service was restored.
CREATE TABLE reconciled (
  tenant_id uuid NOT NULL, source text NOT NULL, epoch uuid NOT NULL, record text NOT NULL,
  done text NOT NULL, said text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, source, epoch, record, done));

CREATE FUNCTION outbox_purge(older interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE head record; upto bigint; gone bigint; total bigint := 0;
BEGIN
  IF older < interval '14 days' THEN RAISE EXCEPTION 'facts are kept for 14 days at least'; END IF;
  FOR head IN SELECT part, published, purged FROM public.outbox_head ORDER BY part FOR UPDATE LOOP
    SELECT o.pos - 1 INTO upto FROM public.outbox o
      WHERE o.part = head.part AND o.pos > head.purged
        AND (o.pos > head.published OR o.occurred_at >= clock_timestamp() - older)
      ORDER BY o.pos LIMIT 1;
    -- A bounded piece at a time: the sequencer waits for the head's row meanwhile.
    upto := least(coalesce(upto, head.published), head.purged + 5000);
    CONTINUE WHEN upto <= head.purged;
    UPDATE public.outbox_head h SET purged = upto,
      purged_hash = (SELECT hash FROM public.outbox o WHERE o.part = head.part AND o.pos = upto)
      WHERE h.part = head.part;
    DELETE FROM public.outbox o WHERE o.part = head.part AND o.pos > head.purged AND o.pos <= upto;
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
  END LOOP;
  RETURN total;
END $$;
"""

# What is shared, and who collaborates on what as rows that an index finds: the tables of the records keep
# those themselves (COLLABORATE).
TABLES_SHARES = ("collaborations",)

SCHEMA_SHARES = """
CREATE TABLE shares (
  tenant_id uuid NOT NULL, id text NOT NULL, version bigint NOT NULL, create_time timestamptz,
  update_time timestamptz, creator text NOT NULL, updater text NOT NULL, delete_time timestamptz,
  record text NOT NULL, grantee text NOT NULL, access text NOT NULL, expire_time timestamptz,
  reason text NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE INDEX shares_by_grantee_record ON shares (tenant_id, grantee, record, id);
CREATE UNIQUE INDEX shares_unique_record_grantee ON shares (tenant_id, record, grantee)
  WHERE delete_time IS NULL AND record <> '' AND grantee <> '';

CREATE TABLE collaborations (
  tenant_id uuid NOT NULL, person text NOT NULL, noun text NOT NULL, record text NOT NULL,
  PRIMARY KEY (tenant_id, person, noun, record));
CREATE INDEX collaborations_by_record ON collaborations (tenant_id, noun, record);

CREATE FUNCTION note_collaborators() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    DELETE FROM public.collaborations
      WHERE tenant_id = OLD.tenant_id AND noun = TG_ARGV[0] AND record = OLD.id;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO public.collaborations (tenant_id, person, noun, record)
      SELECT DISTINCT NEW.tenant_id, person, TG_ARGV[0], NEW.id
      FROM jsonb_array_elements_text(NEW.collaborators) AS person;
  END IF;
  RETURN NULL;
END $$;
"""

# For each table with collaborators; {table} and {noun}, as in "customers/".
COLLABORATE = """
CREATE TRIGGER note_first_collaborators AFTER INSERT ON {table} FOR EACH ROW
  WHEN (NEW.collaborators <> '[]') EXECUTE FUNCTION note_collaborators('{noun}');
CREATE TRIGGER note_other_collaborators AFTER UPDATE ON {table} FOR EACH ROW
  WHEN (OLD.collaborators IS DISTINCT FROM NEW.collaborators) EXECUTE FUNCTION note_collaborators('{noun}');
CREATE TRIGGER note_gone_collaborators AFTER DELETE ON {table} FOR EACH ROW
  WHEN (OLD.collaborators <> '[]') EXECUTE FUNCTION note_collaborators('{noun}');
INSERT INTO collaborations (tenant_id, person, noun, record)
  SELECT DISTINCT tenant_id, person, '{noun}', id
  FROM {table}, jsonb_array_elements_text(collaborators) AS person;
"""

# Which territory each customer lies in: what names a customer is kept in it by the tables themselves.
# Who puts a record down holds the customer's row, so that it does not move unnoticed meanwhile.
SCHEMA_TERRITORIES = """
CREATE TABLE customer_territories (
  tenant_id uuid NOT NULL, customer text NOT NULL, territory text NOT NULL,
  PRIMARY KEY (tenant_id, customer));

CREATE FUNCTION take_territory() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  SELECT p.territory INTO NEW.territory FROM public.customer_territories p
    WHERE p.tenant_id = NEW.tenant_id AND p.customer = NEW.customer FOR SHARE;
  NEW.territory := coalesce(NEW.territory, '');
  RETURN NEW;
END $$;
"""

# For each table of records that name a customer.
PLACE = """
ALTER TABLE {table} ADD COLUMN territory text NOT NULL DEFAULT '';
CREATE INDEX {table}_by_territory ON {table} (tenant_id, territory{ends});
CREATE TRIGGER take_first_territory BEFORE INSERT ON {table} FOR EACH ROW
  WHEN (NEW.customer <> '') EXECUTE FUNCTION take_territory();
CREATE TRIGGER take_other_territory BEFORE UPDATE ON {table} FOR EACH ROW
  WHEN (OLD.customer IS DISTINCT FROM NEW.customer) EXECUTE FUNCTION take_territory();
"""

# After a customer's row changed: {updates} of the records that name it. As the owner, since some of them are
# for the service to insert and read alone.
HAND_DOWN = """
CREATE FUNCTION hand_territory_down() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE said record; now_in text := '';
BEGIN
  said := OLD;
  IF TG_OP <> 'DELETE' THEN said := NEW; now_in := NEW.territory; END IF;
  {updates}
  RETURN NULL;
END $$;
CREATE TRIGGER hand_first_territory_down AFTER INSERT ON customer_territories FOR EACH ROW
  WHEN (NEW.territory <> '') EXECUTE FUNCTION hand_territory_down();
CREATE TRIGGER hand_other_territory_down AFTER UPDATE ON customer_territories FOR EACH ROW
  WHEN (OLD.territory IS DISTINCT FROM NEW.territory) EXECUTE FUNCTION hand_territory_down();
CREATE TRIGGER hand_no_territory_down AFTER DELETE ON customer_territories FOR EACH ROW
  WHEN (OLD.territory <> '') EXECUTE FUNCTION hand_territory_down();
"""

HANDED_DOWN = """UPDATE public.{table} SET territory = now_in
    WHERE tenant_id = said.tenant_id AND {customer} AND territory <> now_in;"""

# Personal values: whether they are sealed, the wrapped keys they are under, and what they are found by.
TABLES_4 = ("sealing", "data_keys", "blind_index")

SCHEMA_4 = """
-- PLAIN: as before; SEALING: what is written is sealed, what was there is being; SEALED: all is.
CREATE TABLE sealing (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  phase text NOT NULL CHECK (phase IN ('PLAIN', 'SEALING', 'SEALED')), shared bytea);
-- Where there are organizations, processes of the release before may still read and write.
INSERT INTO sealing (phase)
  SELECT CASE WHEN EXISTS (SELECT 1 FROM tenants) THEN 'PLAIN' ELSE 'SEALED' END;

CREATE TABLE data_keys (
  tenant_id uuid NOT NULL, generation integer NOT NULL CHECK (generation > 0), wrapped bytea NOT NULL,
  closing boolean NOT NULL DEFAULT false, made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, generation));

CREATE TABLE blind_index (
  tenant_id uuid NOT NULL, field text NOT NULL, digest text NOT NULL, record text NOT NULL,
  PRIMARY KEY (tenant_id, field, digest, record));
CREATE INDEX blind_index_by_record ON blind_index (tenant_id, record);
"""

# Asked several times a second by every process: where there is nothing to do, nothing is locked or written.
SCHEMA_5 = """
CREATE FUNCTION outbox_turn(p smallint, who text, lease double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE head public.outbox_head%ROWTYPE;
BEGIN
  SELECT * INTO head FROM public.outbox_head WHERE part = p;
  IF head.owner IS DISTINCT FROM who AND head.lease_until > clock_timestamp() THEN RETURN -1; END IF;
  IF head.owner = who AND head.lease_until > clock_timestamp() + make_interval(secs => lease / 2)
     AND NOT EXISTS (SELECT 1 FROM public.outbox WHERE part = p AND pos IS NULL) THEN RETURN 0; END IF;
  RETURN public.outbox_number(p, who, lease);
END $$;
"""

TABLES = (*TABLES_1, *TABLES_2, *TABLES_3, *TABLES_SHARES, *TABLES_4, *TABLES_AUDIT)
