#!lua flags=no-writes
-- Counts entries by state. KEYS: as in common/keys.lua. ARGV: 3 queue hash or '' for all.
-- Returns {incoming, due, deferred, held, active, then held and not free per reason (of one queue only)}.
-- Atomic because the sum must be of one moment.
local hash = ARGV[3]
if hash == '' then
  local c, free_ones = counters(), 0
  for _, member in ipairs(call('ZRANGE', K.drain, 0, -1)) do
    local _, free = held_and_free(byte(member, 1), sub(member, 2))
    free_ones = free_ones + free
  end
  return { c.incoming, c.due + free_ones, c.deferred, c.held - free_ones, c.active }
end
local queue, free_ones, reasons = queue_of(hash), 0, {}
for reason = 1, 5 do
  local held, free = held_and_free(reason, hash)
  reasons[reason] = held
  free_ones = free_ones + free
end
return { queue[1], queue[2] + free_ones, queue[3], queue[4] - free_ones, queue[5], unpack(reasons) }
