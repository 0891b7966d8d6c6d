-- Removes pieces that nobody needs any more.
--
-- KEYS[1]  the lease: a hash of transitions, id, who; it expires
-- KEYS[2]  the pointer: a hash of transitions, sequence, text
-- KEYS[3]  the pieces: a hash of name and octets
-- ARGV     transitions, id, who, life in milliseconds; the text that the pointer must have; then the names to remove
-- Returns  how many were removed
--
-- One step, and for the publisher alone: another one may have moved the pointer, and what is no piece of ours may be one of his.
if claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) or redis.call('HGET', KEYS[2], 'text') ~= ARGV[5] then
    return 0
end
local removed = 0
for place = 6, #ARGV do
    removed = removed + redis.call('HDEL', KEYS[3], ARGV[place])
end
return removed
