SELECT revision FROM evertoken_pair WHERE key_digest = $1 AND retired_at IS NULL
