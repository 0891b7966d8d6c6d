-- Incarnations: the runs of nodes, and until when each of them lives.

local beats = {}
-- The deadline of a live incarnation; nil when it is not known, ended, or being reaped.
local function deadline(who)
  local beat = beats[who]
  if beat == nil then
    beat = tonumber(call('HGET', K.beats, who) or 'x') or false
    beats[who] = beat
  end
  return beat or nil
end
local function alive(who)
  local ends = deadline(who)
  return ends ~= nil and now < ends
end
