#!lua flags=allow-oom
-- Leases jobs whose time has come. KEYS: as in common/keys.lua. ARGV: 3 incarnation, 4 most.
-- Returns {4} departed | {1, then per job: key, record, token}.
-- Atomic because one node runs a job at a time.
local who = ARGV[3]
if not alive(who) then return { 4 } end
local out = { 1 }
for _, key in ipairs(call('ZRANGEBYSCORE', K.job_times, '-inf', now, 'LIMIT', 0, ARGV[4])) do
  local raw = call('HGET', K.jobs, key)
  call('ZREM', K.job_times, key)
  if raw then
    local token = add('token', 1)
    call('HSET', K.job_owners, key, who .. pack('>I8', token))
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = key, raw, token
  end
end
flush()
return out
