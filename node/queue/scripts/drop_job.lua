#!lua flags=allow-oom
-- Forgets a job. KEYS: as in common/keys.lua. ARGV: 3 key. Returns {1}. Atomic because job, time and lease belong together.
call('HDEL', K.jobs, ARGV[3])
call('HDEL', K.job_owners, ARGV[3])
call('ZREM', K.job_times, ARGV[3])
return { 1 }
