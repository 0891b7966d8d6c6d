-- Removes pieces that are not of the snapshot that holds.
--
-- KEYS[1]  the pointer: a hash of transitions, sequence, text
-- KEYS[2]  the pieces: a hash of name and octets
-- ARGV     the text that the pointer must have, then the names to remove
-- Returns  how many were removed
--
-- One step: another leader may have moved the pointer, and what is no piece of ours may be one of his.
if redis.call('HGET', KEYS[1], 'text') ~= ARGV[1] then
    return 0
end
local removed = 0
for place = 2, #ARGV do
    removed = removed + redis.call('HDEL', KEYS[2], ARGV[place])
end
return removed
