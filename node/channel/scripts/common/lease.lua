-- The publisher's lease, in front of every function that a publisher calls: whoever writes holds it from then on, or is told who does.
--
-- claim(key, transitions, id, who, life) answers nil where the lease is the caller's for the next `life` milliseconds; else 'held', the holder's
-- transitions, and who it is. A lease is taken over when it lapsed, by a later leader, and by who has the same id: a run after a crash does not
-- wait for itself.
local function claim(key, transitions, id, who, life)
    local held = redis.call('HMGET', key, 'transitions', 'id', 'who')
    if held[2] and held[2] ~= id and tonumber(transitions) <= (tonumber(held[1] or 0) or 0) then
        return {'held', held[1] or '0', held[3] or ''}
    end
    redis.call('HSET', key, 'transitions', transitions, 'id', id, 'who', who)
    redis.call('PEXPIRE', key, life)
    return nil
end
