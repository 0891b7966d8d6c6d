-- Gives the publisher's lease back, so that another one need not wait until it lapses.
--
-- KEYS[1]  the lease: a hash of transitions, id, who
-- ARGV     the id
-- Returns  nil
--
-- One step: what is another's by now stays.
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return false
