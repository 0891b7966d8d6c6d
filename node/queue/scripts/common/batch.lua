-- A batch: its lanes and queues are read in two calls, and all that it changed is written at its end by flush(). Entries are not gathered:
-- save() writes them at once.

local function prefetch(lane_queues, queue_hashes)
  local ids, hashes = {}, {}
  for id in pairs(lane_queues) do
    if not lanes[id] then ids[#ids + 1] = id end
  end
  for hash in pairs(queue_hashes) do
    if not queues[hash] then hashes[#hashes + 1] = hash end
  end
  for first = 1, #ids, 1000 do
    local last = min(first + 999, #ids)
    local raws = call('HMGET', K.lanes, unpack(ids, first, last))
    for i = first, last do parse_lane(ids[i], raws[i - first + 1], lane_queues[ids[i]]) end
  end
  for first = 1, #hashes, 1000 do
    local last = min(first + 999, #hashes)
    local raws = call('HMGET', K.queues, unpack(hashes, first, last))
    for i = first, last do parse_queue(hashes[i], raws[i - first + 1]) end
  end
end

local function flush()
  flush_queues()
  flush_lanes()
  for key, of in pairs(changes) do flush_index(key, of) end
  changes = {}
  if cnt then
    local written, w = {}, 0
    for name, value in pairs(cnt) do
      if value ~= cnt_before[name] then
        written[w + 1], written[w + 2] = name, max(0, value)
        w = w + 2
        cnt_before[name] = value
      end
    end
    if w > 0 then call('HSET', K.counters, unpack(written, 1, w)) end
  end
  if woken then
    call('PUBLISH', channel, '')
    woken = false
  end
end
