-- A row is written in one transaction with the record that it was in, so it needs no confirmation. Of a session whose
-- refresh tokens do not change, many rows have the same digest: one of them will do.
SELECT key_digest, key
FROM (
    SELECT DISTINCT ON (key_digest) key_digest, key::text AS key, retired_at, id
    FROM evertoken_pair
    WHERE digest = $1
    ORDER BY key_digest, retired_at DESC NULLS FIRST, id DESC
) AS sessions
ORDER BY retired_at DESC NULLS FIRST, id DESC
