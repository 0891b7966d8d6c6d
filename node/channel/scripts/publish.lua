-- Moves the pointer of a gateway's configuration forward, and tells the nodes.
--
-- KEYS[1]  the lease: a hash of transitions, id, who; it expires
-- KEYS[2]  the pointer: a hash of transitions, sequence, text
-- KEYS[3]  the pieces: a hash of name and octets
-- ARGV     transitions, id, who, life in milliseconds; transitions, sequence, the pointer's text, the name of the index, the channel that nodes
--          listen to
-- Returns  nil where it moved or was there already; 'held', transitions, who, where another one publishes; else 'outdated' and the epoch that is
--          not older: transitions, sequence
--
-- One step: a leader that slept must not move the pointer back between another's look and its own write; and nobody is to be pointed to an
-- index that is not there.
local holder = claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if holder then
    return holder
end
local now = redis.call('HMGET', KEYS[2], 'transitions', 'sequence', 'text')
if now[3] == ARGV[7] then
    return false
end
if now[1] and now[2] and now[3] then
    local transitions, sequence = tonumber(now[1]), tonumber(now[2])
    local new_transitions, new_sequence = tonumber(ARGV[5]), tonumber(ARGV[6])
    -- The sequence grows over all terms: queue modes are ordered by it.
    if transitions > new_transitions or sequence >= new_sequence then
        return {'outdated', now[1], now[2]}
    end
end
if redis.call('HEXISTS', KEYS[3], ARGV[8]) == 0 then
    return redis.error_reply('MISSING the index is not there')
end
redis.call('HSET', KEYS[2], 'transitions', ARGV[5], 'sequence', ARGV[6], 'text', ARGV[7])
redis.call('PUBLISH', ARGV[9], ARGV[6])
return false
