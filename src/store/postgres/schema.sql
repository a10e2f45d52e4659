-- Version 2 of what a PostgresStore keeps. Run once, in the schema that is first in the search path of those
-- who use it. They need SELECT on evertoken_schema, and SELECT, INSERT, UPDATE and DELETE on evertoken_pair.

-- Which version this is. A crate refuses tables of another version.
CREATE TABLE evertoken_schema (
    version integer NOT NULL
);
CREATE UNIQUE INDEX evertoken_schema_once ON evertoken_schema ((true));

-- A row for each token pair. The one without `retired_at` is its session's current one. What is called a digest is
-- the first 16 bytes of a SHA-256.
--
-- The order of the columns keeps the write-ahead log small. What a lease changes stands at the end, with the record last
-- and what a lease changes of it at its beginning: of a row that is updated in its page, the log has only what lies
-- between the first difference and the last one.
CREATE TABLE evertoken_pair (
    id                 bigint GENERATED ALWAYS AS PAIR_ID PRIMARY KEY,
    -- Which of the pairs of the session.
    version            bigint,
    issued_at          timestamptz,
    -- NULL if that is unknown, or never.
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    -- What the session is: the digest of the key, and the key itself, which holds no secret.
    key_digest         bytea NOT NULL CHECK (octet_length(key_digest) = 16),
    key                json NOT NULL,
    -- Of the refresh token (of the access token, where there is no other); NULL until a sign-in brings one.
    digest             bytea CHECK (octet_length(digest) = 16),
    -- Of the access token; NULL where there is none, and where nothing but its refresh token is known of a pair.
    access_digest      bytea CHECK (octet_length(access_digest) = 16),
    -- Which sign-in.
    family            text,
    -- The name of the access token, where it is a JWT that has one.
    jti                text,
    -- ACTIVE: the pair is good. INACTIVE: another took its place. EXPIRED: it ran out, or what became of it is
    -- not known. REVOKED: the server refused it, or the user logged out.
    state              text NOT NULL CHECK (state IN ('ACTIVE', 'INACTIVE', 'EXPIRED', 'REVOKED')),
    -- When another pair took its place.
    retired_at         timestamptz,
    -- From when on nothing depends on the session any more; NULL if that is unknown, or never.
    needed_until       timestamptz,
    -- The digests of past tokens that the record keeps, one after the other.
    past               bytea,
    -- The pair; with a sealer the whole record, sealed. The only place with a secret. NULL once the pair gave way.
    pair               bytea,
    changed_at         timestamptz NOT NULL,
    -- What a replacement is compared by.
    revision           bigint NOT NULL,
    -- The session's record without its pair and its past tokens: who has leased the pair, how the session ended,
    -- and the like. NULL once the pair gave way.
    record             bytea,
    CHECK ((retired_at IS NULL) = (record IS NOT NULL)),
    CHECK ((record IS NULL) = (past IS NULL)),
    CHECK (pair IS NULL OR record IS NOT NULL),
    CHECK (state <> 'ACTIVE' OR retired_at IS NULL)
) WITH (fillfactor = 70);

-- A pair of ordinary length stays outside of its row, where a lease does not write it again, and is not compressed:
-- tokens hardly shrink. The others stay in the row, and are as long in a row that was updated as in one that came.
ALTER TABLE evertoken_pair
    ALTER COLUMN pair SET STORAGE EXTERNAL,
    ALTER COLUMN key SET STORAGE MAIN,
    ALTER COLUMN family SET STORAGE MAIN,
    ALTER COLUMN jti SET STORAGE MAIN,
    ALTER COLUMN past SET STORAGE MAIN,
    ALTER COLUMN record SET STORAGE MAIN;

-- None of these has a column that a lease changes, so that leasing a pair touches no index.
CREATE UNIQUE INDEX evertoken_pair_active ON evertoken_pair (key_digest) WHERE state = 'ACTIVE';
CREATE UNIQUE INDEX evertoken_pair_current ON evertoken_pair (key_digest) WHERE retired_at IS NULL;
CREATE INDEX evertoken_pair_retired ON evertoken_pair (key_digest, retired_at) WHERE retired_at IS NOT NULL;
CREATE INDEX evertoken_pair_digest ON evertoken_pair (digest);
CREATE INDEX evertoken_pair_access ON evertoken_pair (access_digest);

INSERT INTO evertoken_schema (version) VALUES (2);
