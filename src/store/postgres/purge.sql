-- Whoever else deletes, or rotates, is not waited for: two that wait for each other would end in a deadlock.
WITH purged AS (DELETE FROM evertoken_pair WHERE id IN (
    SELECT id FROM evertoken_pair
    WHERE coalesce(retired_at, needed_until) < clock_timestamp() - $1 * interval '1 millisecond'
    FOR UPDATE SKIP LOCKED
) RETURNING id)
SELECT count(*) FROM purged
