#!lua flags=no-writes
-- Counts entries by queue, of a part of the queues. KEYS: as in common/keys.lua. ARGV: 3 cursor, 4 about how many.
-- Returns {next cursor (text), then per queue that has mail: hash, name, incoming, due, deferred, held, active, and of its deferred and held
-- entries the key of the oldest or ''}.
-- Atomic because a queue's numbers must be of one moment.
local scan = call('HSCAN', K.queues, ARGV[3], 'COUNT', ARGV[4])
local out, n = { scan[1] }, 1
for i = 1, #scan[2], 2 do
  local hash = scan[2][i]
  local queue = parse_queue(hash, scan[2][i + 1])
  if queue[1] + queue[2] + queue[3] + queue[4] + queue[5] > 0 then
    local free_ones = 0
    if queue[HELD] > 0 then
      for reason = 1, 5 do
        local _, free = held_and_free(reason, hash)
        free_ones = free_ones + free
      end
    end
    local oldest = call('ZRANGEBYLEX', K.ages, '[' .. hash, '[' .. hash .. string.rep('\255', 19), 'LIMIT', 0, 1)[1]
    out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] = hash, queue.name, queue[1], queue[2] + free_ones, queue[3]
    out[n + 6], out[n + 7], out[n + 8] = queue[4] - free_ones, queue[5], oldest and sub(oldest, 9) or ''
    n = n + 8
  end
end
return out
