#!lua flags=allow-oom
-- Opens the backed-off lanes that have something due: one part of them.
-- KEYS: as in common/keys.lua. ARGV: 3 queue hash or '', 4 cursor, 5 about how many.
-- Returns {how many entries are due in the lanes that were opened, next cursor (text)}.
-- Atomic because an attempt may end, and back a lane off or open it, at any moment.
local only = ARGV[3]
local scan = call('ZSCAN', K.backed, ARGV[4], 'COUNT', ARGV[5])
local ids = {}
for i = 1, #scan[2], 2 do ids[scan[2][i]] = '' end
prefetch(ids, {})
local opened = 0
for id in pairs(ids) do
  local lane = lanes[id]
  if lane.backoff > 0 and lane.due > 0 and (only == '' or lane.queue == only) then
    opened = opened + lane.due
    open_lane(lane)
  end
end
flush()
return { opened, scan[1] }
