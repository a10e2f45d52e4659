-- Makes version 3 of the tables of a PostgresStore out of version 2. Run this once, in the schema of the tables, as their owner.
ALTER TABLE evertoken_pair
    ADD COLUMN upstream_session bytea CHECK (octet_length(upstream_session) = 16),
    ADD COLUMN upstream_subject bytea CHECK (octet_length(upstream_subject) = 16);
CREATE INDEX evertoken_pair_upstream_session ON evertoken_pair (upstream_session) WHERE upstream_session IS NOT NULL;
CREATE INDEX evertoken_pair_upstream_subject ON evertoken_pair (upstream_subject) WHERE upstream_subject IS NOT NULL;
UPDATE evertoken_schema SET version = 3;
