#!lua flags=allow-oom
-- Drops the chunks of a message that will not be enqueued. KEYS: as in common/keys.lua, then 60 the content's key. ARGV: 3 message id.
-- Returns {1}. Atomic because those of an enqueued message stay.
local there = call('HGET', bucket(ARGV[3]), ARGV[3])
if not there or is_tombstone(there) then call('UNLINK', KEYS[60]) end
return { 1 }
