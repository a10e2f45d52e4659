-- Version 3 of the tables of a PostgresStore. Run this once, in the schema that is first in the search path of the
-- store's users. These need SELECT on evertoken_schema, and SELECT, INSERT, UPDATE and DELETE on evertoken_pair.

-- The version of the tables. A store refuses tables of another version.
CREATE TABLE evertoken_schema (
    version integer NOT NULL
);
CREATE UNIQUE INDEX evertoken_schema_once ON evertoken_schema ((true));

-- A row for each token pair. The row without `retired_at` is its session's current one. A digest is the first 16 bytes
-- of a SHA-256.
--
-- The order of the columns keeps the write-ahead log small. Of a row that is updated within its page, the log has only
-- the bytes between the first difference and the last one. So the columns that a lease changes stand at the end, the
-- record last, and within the record the part that a lease changes stands first.
CREATE TABLE evertoken_pair (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The number of the pair within its family.
    version            bigint,
    issued_at          timestamptz,
    -- NULL if the token never expires, or if its expiry is unknown.
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    -- The session: the digest of the key, and the key itself, which contains no secret.
    key_digest         bytea NOT NULL CHECK (octet_length(key_digest) = 16),
    key                json NOT NULL,
    -- The digest of the refresh token (of the access token, where the pair has no other); NULL until the first sign-in.
    digest             bytea CHECK (octet_length(digest) = 16),
    -- The digest of the access token; NULL where the pair has none, and where only the refresh token of a pair is known.
    access_digest      bytea CHECK (octet_length(access_digest) = 16),
    -- The token family: one for each sign-in.
    family             text,
    -- The `jti` of the access token, where the token is a JWT that has one.
    jti                text,
    -- The digests of the OpenID provider's session and user; NULL where the sign-in named none, and once the pair was replaced
    -- or its session logged out.
    upstream_session   bytea CHECK (octet_length(upstream_session) = 16),
    upstream_subject   bytea CHECK (octet_length(upstream_subject) = 16),
    -- ACTIVE: the pair is valid. INACTIVE: another pair replaced it. EXPIRED: it expired, or its outcome is unknown.
    -- REVOKED: the server refused it, or the user logged out.
    state              text NOT NULL CHECK (state IN ('ACTIVE', 'INACTIVE', 'EXPIRED', 'REVOKED')),
    -- The time at which another pair replaced this one.
    retired_at         timestamptz,
    -- The time from which nothing depends on the session any more; NULL if there is none, or if it is unknown.
    needed_until       timestamptz,
    -- The digests of the past tokens that the record keeps, one after the other.
    past               bytea,
    -- The pair; with a sealer the whole record, sealed. The only column with a secret. NULL once the pair was replaced.
    pair               bytea,
    changed_at         timestamptz NOT NULL,
    -- The revision, by which a swap is compared.
    revision           bigint NOT NULL,
    -- The session's record without the pair and the past tokens: the lease, how the session ended, and the like. NULL
    -- once the pair was replaced.
    record             bytea,
    CHECK ((retired_at IS NULL) = (record IS NOT NULL)),
    CHECK ((record IS NULL) = (past IS NULL)),
    CHECK (pair IS NULL OR record IS NOT NULL),
    CHECK (state <> 'ACTIVE' OR retired_at IS NULL)
) WITH (fillfactor = 70);

-- A pair of ordinary length is stored outside of its row, where a lease does not write it again. It is not compressed,
-- because tokens hardly shrink. The other columns stay in the row, and have the same length after an update.
ALTER TABLE evertoken_pair
    ALTER COLUMN pair SET STORAGE EXTERNAL,
    ALTER COLUMN key SET STORAGE MAIN,
    ALTER COLUMN family SET STORAGE MAIN,
    ALTER COLUMN jti SET STORAGE MAIN,
    ALTER COLUMN past SET STORAGE MAIN,
    ALTER COLUMN record SET STORAGE MAIN;

-- No index has a column that a lease changes, so that a lease touches no index.
CREATE UNIQUE INDEX evertoken_pair_active ON evertoken_pair (key_digest) WHERE state = 'ACTIVE';
CREATE UNIQUE INDEX evertoken_pair_current ON evertoken_pair (key_digest) WHERE retired_at IS NULL;
CREATE INDEX evertoken_pair_retired ON evertoken_pair (key_digest, retired_at) WHERE retired_at IS NOT NULL;
CREATE INDEX evertoken_pair_digest ON evertoken_pair (digest);
CREATE INDEX evertoken_pair_access ON evertoken_pair (access_digest);
CREATE INDEX evertoken_pair_upstream_session ON evertoken_pair (upstream_session) WHERE upstream_session IS NOT NULL;
CREATE INDEX evertoken_pair_upstream_subject ON evertoken_pair (upstream_subject) WHERE upstream_subject IS NOT NULL;

INSERT INTO evertoken_schema (version) VALUES (3);
