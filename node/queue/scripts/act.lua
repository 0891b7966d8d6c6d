#!lua flags=allow-oom
-- What a person does to one entry. KEYS: as in common/keys.lua. ARGV: 3 entry key, 4 'hold' | 'release' | 'retry'.
-- Returns {0} not there | {1} done | {2} busy | {3} not applicable.
-- Atomic because an attempt may begin at any moment.
local key, act = ARGV[3], ARGV[4]
local raw = call('HGET', bucket(key), key)
if not raw then return { 0 } end
local e = read_entry(key, raw)
if not e then return { 3 } end
if e.state == INCOMING or e.state == ACTIVE then return { 2 } end
if e.state == HELD then
  if is_claimed(e) then return { 3 } end
  if is_free(e) then free(e) end
end
if e.state == HELD and e.reason == QUARANTINE then return { 3 } end
if act == 'hold' then
  if e.state ~= HELD or e.reason ~= ADMINISTRATOR then
    e.held_ms = held_total(e)
    leave(e)
    enter_held(e, ADMINISTRATOR)
  end
elseif act == 'release' then
  if e.state ~= HELD then return { 3 } end
  e.held_ms = held_total(e)
  leave(e)
  enter_due(e, now)
else
  if e.state ~= DUE then
    e.held_ms = held_total(e)
    leave(e)
    enter_due(e, now)
  end
  open_lane(lane_of(e.lane, e.queue))
end
save(e)
flush()
return { 1 }
