-- Rows that another deletion or rotation has locked are skipped: two that wait for each other would end in a deadlock.
-- The check at the start binds false to $2: the server tests a condition without a column once, before it reads a row.
WITH purged AS (DELETE FROM evertoken_pair WHERE $2 AND id IN (
    SELECT id FROM evertoken_pair
    WHERE coalesce(retired_at, needed_until) < clock_timestamp() - $1 * interval '1 millisecond'
    FOR UPDATE SKIP LOCKED
) RETURNING id)
SELECT count(*) FROM purged
