#!lua flags=allow-oom
-- Says that an incarnation lives. KEYS: as in common/keys.lua. ARGV: 3 incarnation, 4 deadline. Returns {1} | {4} departed.
-- Atomic because one that is being reaped must not come back.
local beat = call('HGET', K.beats, ARGV[3])
if beat and not tonumber(beat) then return { 4 } end
call('HSET', K.beats, ARGV[3], ARGV[4])
return { 1 }
