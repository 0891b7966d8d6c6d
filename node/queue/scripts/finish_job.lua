#!lua flags=allow-oom
-- Ends a run. KEYS: as in common/keys.lua. ARGV: 3 incarnation, 4 key, 5 token, 6 started or '', 7 missed or '', 8 next or ''.
-- Returns {1} done | {2} stale. Atomic because the lease decides whether it counts.
local who, key, token = ARGV[3], ARGV[4], tonumber(ARGV[5])
local owner, raw = call('HGET', K.job_owners, key), call('HGET', K.jobs, key)
if not owner or not raw or owner ~= who .. pack('>I8', token) then return { 2 } end
call('HDEL', K.job_owners, key)
local next_time = tonumber(ARGV[8])
if not next_time then
  call('HDEL', K.jobs, key)
  return { 1 }
end
local _, last, missed = unpick('>I8I8I8', raw)
if ARGV[6] ~= '' then last = tonumber(ARGV[6]) + 1 end
if ARGV[7] ~= '' then missed = tonumber(ARGV[7]) + 1 end
call('HSET', K.jobs, key, pack('>I8I8I8', next_time, last, missed))
call('ZADD', K.job_times, next_time, key)
return { 1 }
