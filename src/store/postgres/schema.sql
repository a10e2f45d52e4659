-- Version 1 of what a PostgresStore keeps. Run once, in the schema that is first in the search path of those
-- who use it. They need SELECT on evertoken_schema, and SELECT, INSERT, UPDATE and DELETE on evertoken_pair.

-- Which version this is. An older crate refuses a newer one.
CREATE TABLE evertoken_schema (
    version integer NOT NULL
);
CREATE UNIQUE INDEX evertoken_schema_once ON evertoken_schema ((true));

-- A row for each token pair. The one without `retired_at` is its session's current one.
CREATE TABLE evertoken_pair (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the session is: SHA-256 of the key, and the key itself, which holds no secret.
    key_digest         bytea NOT NULL CHECK (octet_length(key_digest) = 32),
    key                json NOT NULL,
    -- ACTIVE: the pair is good. INACTIVE: another took its place. EXPIRED: it ran out, or what became of it is
    -- not known. REVOKED: the server refused it, or the user logged out.
    state              text NOT NULL CHECK (state IN ('ACTIVE', 'INACTIVE', 'EXPIRED', 'REVOKED')),
    -- Which sign-in, and which of its pairs.
    lineage            text,
    version            bigint,
    -- SHA-256 of the refresh token (of the access token, where there is no other); NULL until a sign-in brings
    -- one.
    digest             bytea,
    -- The name of the access token, where it is a JWT that has one.
    jti                text,
    issued_at          timestamptz,
    -- NULL if that is unknown, or never.
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    -- From when on nothing depends on the session any more; NULL if that is unknown, or never.
    needed_until       timestamptz,
    changed_at         timestamptz NOT NULL,
    -- When another pair took its place.
    retired_at         timestamptz,
    -- What a replacement is compared by.
    revision           bigint NOT NULL,
    -- The session's record, and in it the pair: the only place with a secret. NULL once the pair gave way.
    record             bytea,
    CHECK ((retired_at IS NULL) = (record IS NOT NULL)),
    CHECK (state <> 'ACTIVE' OR retired_at IS NULL)
) WITH (fillfactor = 70);

-- None of these has a column that a claim changes, so that claiming a pair touches no index.
CREATE UNIQUE INDEX evertoken_pair_active ON evertoken_pair (key_digest) WHERE state = 'ACTIVE';
CREATE UNIQUE INDEX evertoken_pair_current ON evertoken_pair (key_digest) WHERE retired_at IS NULL;
CREATE INDEX evertoken_pair_retired ON evertoken_pair (key_digest, retired_at) WHERE retired_at IS NOT NULL;
CREATE INDEX evertoken_pair_digest ON evertoken_pair (digest);

INSERT INTO evertoken_schema (version) VALUES (1);
