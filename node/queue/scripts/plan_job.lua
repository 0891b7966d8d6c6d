#!lua flags=allow-oom
-- Makes a job known or moves its nominal time. KEYS: as in common/keys.lua. ARGV: 3 key, 4 nominal time. Returns {1}.
-- A job is: nominal time, last run + 1 or 0, missed run + 1 or 0. Its owner, while leased: incarnation and token.
-- Atomic because a run may begin at any moment.
local key, nominal = ARGV[3], tonumber(ARGV[4])
if call('HEXISTS', K.job_owners, key) == 1 then return { 1 } end
local raw = call('HGET', K.jobs, key)
local rest = raw and sub(raw, 9) or pack('>I8I8', 0, 0)
call('HSET', K.jobs, key, pack('>I8', nominal) .. rest)
call('ZADD', K.job_times, nominal, key)
return { 1 }
