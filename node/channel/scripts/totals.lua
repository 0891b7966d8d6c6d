-- Replaces what waits in the queues, and tells the operator.
--
-- KEYS[1]  the totals: a hash of at and text
-- ARGV     at, the text, the milliseconds by which what is there must be later to be of a clock that was set back, the channel that the operator
--          listens to
-- Returns  1 where they were replaced; 0 where what is there was counted later
--
-- One step: of two nodes that count at once the later count stays, whoever of them writes last.
local there, at = tonumber(redis.call('HGET', KEYS[1], 'at') or ''), tonumber(ARGV[1])
if there and there >= at and there - at <= tonumber(ARGV[3]) then
    return 0
end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'text', ARGV[2])
redis.call('PUBLISH', ARGV[4], 'totals')
return 1
