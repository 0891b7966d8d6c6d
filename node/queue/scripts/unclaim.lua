#!lua flags=allow-oom
-- Ends a claim. KEYS: as in common/keys.lua. ARGV: 3 claim id, 4 queue hash. Returns {1}.
-- Atomic because the claim may be another session's by now.
local raw = call('HGET', K.claims, 'q' .. ARGV[4])
if raw and sub(raw, 1, 16) == ARGV[3] then
  call('HDEL', K.claims, 'q' .. ARGV[4], 'i' .. ARGV[3])
  woken = true
end
flush()
return { 1 }
