-- Lanes: back-off, the one probe, how many are due, when it had its last turn, and in which index it stands.

local LANE, LANE_SIZE = '>Bc8I8I8I6dBd', 48
local NOWHERE, READY, WAITING = 0, 1, 2
local lanes = {}
local function parse_lane(id, raw, queue_hash)
  local lane = { queue = queue_hash, backoff = 0, probe = 0, due = 0, turn = false, place = NOWHERE, score = 0, backed = false }
  if raw and #raw == LANE_SIZE and byte(raw, 1) == FORMAT then
    local _
    _, lane.queue, lane.backoff, lane.probe, lane.due, lane.turn, lane.place, lane.score = unpick(LANE, raw)
    lane.raw = raw
    lane.backed = lane.backoff > 0 and lane.backoff
  end
  lanes[id] = lane
  return lane
end
local function lane_of(id, queue_hash)
  return lanes[id] or parse_lane(id, call('HGET', K.lanes, id), queue_hash)
end
local function flush_lanes()
  local written, w, gone, g = {}, 0, {}, 0
  for id, lane in pairs(lanes) do
    local place, score = NOWHERE, 0
    if not lane.turn then lane.turn = counters().turn - 0.5 end -- a new lane comes before the one that was served last, no sooner
    if lane.due > 0 and lane.backoff == 0 then
      place, score = READY, lane.turn
    elseif lane.due > 0 and lane.probe == 0 then
      place, score = WAITING, lane.backoff
    end
    if place ~= lane.place or score ~= lane.score then
      if lane.place == READY and place ~= READY then index(K.ready, id, false) end
      if lane.place == WAITING and place ~= WAITING then index(K.wait, id, false) end
      if place == READY then index(K.ready, id, score) end
      if place == WAITING then index(K.wait, id, score) end
      lane.place, lane.score = place, score
    end
    local backed = lane.backoff > 0 and lane.backoff
    if backed ~= lane.backed then
      index(K.backed, id, backed)
      lane.backed = backed
    end
    if lane.due == 0 and lane.backoff == 0 and lane.probe == 0 then
      if lane.raw then
        g = g + 1
        gone[g] = id
        lane.raw = nil
      end
    else
      local raw = pack(LANE, FORMAT, lane.queue, lane.backoff, lane.probe, lane.due, lane.turn, lane.place, lane.score)
      if raw ~= lane.raw then
        written[w + 1], written[w + 2] = id, raw
        w = w + 2
        lane.raw = raw
        if w == 1000 then
          call('HSET', K.lanes, unpack(written, 1, w))
          w = 0
        end
      end
    end
    if g == 1000 then
      call('HDEL', K.lanes, unpack(gone, 1, g))
      g = 0
    end
  end
  if w > 0 then call('HSET', K.lanes, unpack(written, 1, w)) end
  if g > 0 then call('HDEL', K.lanes, unpack(gone, 1, g)) end
end
local function open_lane(lane)
  lane.backoff = 0
  if lane.due > 0 then woken = true end
end
