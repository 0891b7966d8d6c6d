#!lua flags=allow-oom
-- Takes from a rate. KEYS: as in common/keys.lua. ARGV: 3 key, 4 wanted, 5 limit, 6 per (ms). Returns {granted}.
-- Atomic because several nodes take from one window.
local key, per = ARGV[3], tonumber(ARGV[6])
local raw = call('HGET', K.rates, key)
local started, used = now, 0
if raw then
  local at, taken = unpick('>I8I8', raw)
  if now < at + per then started, used = at, taken end
end
local granted = max(0, min(tonumber(ARGV[4]), tonumber(ARGV[5]) - used))
if granted > 0 then
  call('HSET', K.rates, key, pack('>I8I8', started, used + granted))
  call('ZADD', K.rate_ends, started + per, key)
end
return { granted }
