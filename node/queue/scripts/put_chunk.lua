#!lua
-- Stores one chunk of content before its message. KEYS: as in common/keys.lua, then 60 the content's key.
-- ARGV: 3 message id, 4 index, 5 octets and CRC-32 (four octets each), 6 the chunk, 7 how long it is kept (ms). Returns {1}.
-- Atomic because chunks of an enqueued message must not change or get an end.
local id = ARGV[3]
local there = call('HGET', bucket(id), id)
if there and not is_tombstone(there) then return { 1 } end
call('HSET', KEYS[60], ARGV[4], ARGV[6], ARGV[4] .. 'm', ARGV[5], 'ends', now + tonumber(ARGV[7]))
call('PEXPIRE', KEYS[60], ARGV[7])
return { 1 }
