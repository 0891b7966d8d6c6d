-- Moves the pointer of a gateway's configuration forward, and tells the nodes.
--
-- KEYS[1]  the pointer: a hash of transitions, sequence, text
-- KEYS[2]  the pieces: a hash of name and octets
-- ARGV     transitions, sequence, the pointer's text, the name of the index, the channel that nodes listen to
-- Returns  nil where it moved or was there already; else the epoch that is not older: transitions, sequence
--
-- One step: a leader that slept must not move the pointer back between another's look and its own write; and nobody is to be pointed to an
-- index that is not there.
local now = redis.call('HMGET', KEYS[1], 'transitions', 'sequence', 'text')
if now[3] == ARGV[3] then
    return false
end
if now[1] and now[2] and now[3] then
    local transitions, sequence = tonumber(now[1]), tonumber(now[2])
    local new_transitions, new_sequence = tonumber(ARGV[1]), tonumber(ARGV[2])
    -- The sequence grows over all terms: queue modes are ordered by it.
    if transitions > new_transitions or sequence >= new_sequence then
        return {now[1], now[2]}
    end
end
if redis.call('HEXISTS', KEYS[2], ARGV[4]) == 0 then
    return redis.error_reply('MISSING the index is not there')
end
redis.call('HSET', KEYS[1], 'transitions', ARGV[1], 'sequence', ARGV[2], 'text', ARGV[3])
redis.call('PUBLISH', ARGV[5], ARGV[2])
return false
