SELECT pair.record, pair.past, pair.pair, pair.revision, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM (VALUES (1)) AS once
LEFT JOIN evertoken_pair AS pair ON pair.key_digest = $1 AND pair.retired_at IS NULL
