#!lua flags=allow-oom
-- Makes deferred entries due and opens their lanes, or holds due and deferred ones: of one bucket, one part.
-- A lane of what is due already is opened by open_lanes.lua, which comes first; here only that of what a release has made due meanwhile.
-- KEYS: as in common/keys.lua. ARGV: 3 'retry' | 'hold', 4 queue hash or '', 5 bucket (0-15), 6 cursor, 7 about how many.
-- Returns {how many, next cursor (text)}.
-- Atomic because an attempt may begin at any moment.
local act, only, name = ARGV[3], ARGV[4], KEYS[tonumber(ARGV[5]) + 1]
local scan = call('HSCAN', name, ARGV[6], 'COUNT', ARGV[7])
local changed, fields, was_backed = 0, scan[2], {}
for i = 1, #fields, 2 do
  local key = fields[i]
  local e = #key == 18 and read_entry(key, fields[i + 1])
  if e and (only == '' or e.queue == only) then
    if e.state == HELD and is_free(e) then
      free(e)
      save(e)
      if act == 'retry' then
        local lane = lane_of(e.lane, e.queue)
        if lane.backoff > 0 then
          was_backed[e.lane] = true
          open_lane(lane)
        end
        if was_backed[e.lane] then changed = changed + 1 end
      end
    end
    if act == 'retry' and e.state == DEFERRED then
      open_lane(lane_of(e.lane, e.queue))
      leave(e)
      enter_due(e, now)
      save(e)
      changed = changed + 1
    elseif act == 'hold' and (e.state == DEFERRED or e.state == DUE) then
      leave(e)
      enter_held(e, ADMINISTRATOR)
      save(e)
      changed = changed + 1
    end
  end
end
flush()
return { changed, scan[1] }
