-- The first record of a key, unless another instance was faster.
WITH came AS (
    INSERT INTO evertoken_pair (
        key_digest, key, state, family, version, digest, access_digest, jti, issued_at, access_expires_at,
        refresh_expires_at, needed_until, record, past, pair, upstream_session, upstream_subject, changed_at, revision
    )
    SELECT
        $1, $2::json, $3, $4, $5, $6, $7, $8, to_timestamp($9 / 1000.0), to_timestamp($10 / 1000.0),
        to_timestamp($11 / 1000.0), to_timestamp($12 / 1000.0), $13, $14, $15, $17, $18, clock_timestamp(),
        -- A clock and not a counter: no number comes again after a deletion, or on a server that lost its last writes.
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    ON CONFLICT DO NOTHING
    RETURNING revision
),
named AS (
    INSERT INTO evertoken_pair (key_digest, key, state, digest, changed_at, retired_at, revision)
    SELECT $1, $2::json, 'INACTIVE', past.digest, clock_timestamp(), clock_timestamp(), 0
    FROM came, unnest($16) AS past (digest)
)
-- An instance that was too late when it asked gets the record that is there.
SELECT
    came.revision,
    true AS is_another_pair,
    newer.record,
    newer.past,
    newer.pair,
    newer.revision,
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    -- What is acknowledged is on the disk, whatever the default of the server: a lost lease lets two instances spend
    -- one token.
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END
FROM (VALUES (1)) AS once
LEFT JOIN came ON true
LEFT JOIN evertoken_pair AS newer
    ON came.revision IS NULL AND newer.key_digest = $1 AND newer.retired_at IS NULL
