WITH seen AS MATERIALIZED (
    SELECT
        id,
        digest,
        -- Whether the row stays current: it has no pair yet, or the record has the row's pair, or the record is the same
        -- without the pair (the pair was revoked after a logout).
        digest IS NULL OR (family = $4 AND version = $5 AND ($6 IS NULL OR digest = $6)) AS goes_on
    FROM evertoken_pair
    WHERE key_digest = $1 AND retired_at IS NULL AND revision = $19
    -- Waits for an instance that is replacing the row. If that instance succeeds, the revision differs and no row is
    -- found.
    FOR UPDATE
),
went_on AS (
    UPDATE evertoken_pair AS pair SET
        state = $3,
        family = $4,
        version = $5,
        digest = coalesce($6, pair.digest),
        access_digest = CASE WHEN $6 IS NULL THEN access_digest ELSE $7 END,
        jti = CASE WHEN $6 IS NULL THEN jti ELSE $8 END,
        issued_at = CASE WHEN $6 IS NULL THEN issued_at ELSE to_timestamp($9 / 1000.0) END,
        access_expires_at = CASE WHEN $6 IS NULL THEN access_expires_at ELSE to_timestamp($10 / 1000.0) END,
        refresh_expires_at = CASE WHEN $6 IS NULL THEN refresh_expires_at ELSE to_timestamp($11 / 1000.0) END,
        upstream_session = $17,
        upstream_subject = $18,
        needed_until = to_timestamp($12 / 1000.0),
        record = $13,
        past = $14,
        -- The value that is there, and not an equal one: the value stays where it is, outside of the row.
        pair = CASE WHEN pair.pair = $15 THEN pair.pair ELSE $15 END,
        changed_at = clock_timestamp(),
        revision = greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $19 + 1)
    FROM seen
    WHERE pair.id = seen.id AND seen.goes_on
    RETURNING pair.revision
),
gave_way AS (
    UPDATE evertoken_pair AS pair SET
        state = CASE
            WHEN state <> 'ACTIVE' THEN state
            WHEN access_expires_at <= clock_timestamp() THEN 'EXPIRED'
            ELSE 'INACTIVE'
        END,
        record = NULL,
        past = NULL,
        pair = NULL,
        upstream_session = NULL,
        upstream_subject = NULL,
        changed_at = clock_timestamp(),
        retired_at = clock_timestamp()
    FROM seen
    WHERE pair.id = seen.id AND NOT seen.goes_on
    RETURNING pair.id
),
-- From the rows that the update returns, so that the update comes before the check of the unique indexes.
came AS (
    INSERT INTO evertoken_pair (
        key_digest, key, state, family, version, digest, access_digest, jti, issued_at, access_expires_at,
        refresh_expires_at, needed_until, record, past, pair, upstream_session, upstream_subject, changed_at, revision
    )
    SELECT
        $1, $2::json, $3, $4, $5, $6, $7, $8, to_timestamp($9 / 1000.0), to_timestamp($10 / 1000.0),
        to_timestamp($11 / 1000.0), to_timestamp($12 / 1000.0), $13, $14, $15, $17, $18, clock_timestamp(),
        greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $19 + 1)
    FROM gave_way
    RETURNING revision
),
-- Tokens that are known as used, and never had a row. One search of an index for each: a join may be planned to read the
-- whole table.
named AS (
    INSERT INTO evertoken_pair (key_digest, key, state, digest, changed_at, retired_at, revision)
    SELECT $1, $2::json, 'INACTIVE', past.digest, clock_timestamp(), clock_timestamp(), 0
    FROM seen, unnest($16) AS past (digest)
    WHERE seen.digest IS DISTINCT FROM $6 AND (
        SELECT true FROM evertoken_pair AS known
        WHERE known.digest = past.digest AND known.key_digest = $1
        LIMIT 1
    ) IS NULL
),
-- Deletes more rows than the one that each rotation adds, and few enough to be fast. The rows of past tokens that the
-- record still knows stay, so that these tokens are found.
swept AS (
    DELETE FROM evertoken_pair WHERE id = ANY (ARRAY(
        SELECT id FROM evertoken_pair
        WHERE key_digest = $1 AND retired_at < clock_timestamp() - $20 * interval '1 millisecond'
            AND (digest <> ALL ($16)) IS NOT FALSE AND EXISTS (SELECT FROM gave_way)
        ORDER BY retired_at
        LIMIT 8
        FOR UPDATE SKIP LOCKED
    ))
),
written AS (
    SELECT revision, false AS is_another_pair FROM went_on UNION ALL SELECT revision, true FROM came
)
-- An instance that was too late when it asked gets the record that is there.
SELECT
    written.revision,
    written.is_another_pair,
    newer.record,
    newer.past,
    newer.pair,
    newer.revision,
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    -- What is acknowledged is on the disk, as in first.sql.
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END
FROM (VALUES (1)) AS once
LEFT JOIN written ON true
LEFT JOIN evertoken_pair AS newer
    ON written.revision IS NULL AND newer.key_digest = $1 AND newer.retired_at IS NULL AND newer.revision <> $19
