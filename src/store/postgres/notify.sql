-- Nobody has to wait until this is on the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify('evertoken', $1)
