SELECT key_digest, record FROM evertoken_pair
WHERE retired_at IS NULL AND key_digest IN (SELECT key_digest FROM evertoken_pair WHERE digest = $1)
