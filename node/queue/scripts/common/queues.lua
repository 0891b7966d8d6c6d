-- Queues: the mode, whether releases are recorded, entries by state, and, behind these, the name once the queue has had mail.

local QUEUE, QUEUE_SIZE = '>BBBBI8I6I6I6I6I6', 42
local queues = {}
local function parse_queue(hash, raw)
  local queue = { known = 0, hold = 0, releases = 0, generation = 0, name = '', 0, 0, 0, 0, 0 }
  if raw and #raw >= QUEUE_SIZE and byte(raw, 1) == FORMAT then
    local _
    _, queue.known, queue.hold, queue.releases, queue.generation,
      queue[1], queue[2], queue[3], queue[4], queue[5] = unpick(QUEUE, raw)
    queue.name = sub(raw, QUEUE_SIZE + 1)
    queue.raw = raw
  end
  queues[hash] = queue
  return queue
end
local function queue_of(hash)
  return queues[hash] or parse_queue(hash, call('HGET', K.queues, hash))
end
-- Notes a queue's name from the body of an entry, which starts behind so many octets: its first field, behind version and checksum, is
-- the name, its length in front (seven bits an octet, the lowest first).
local function name_queue(hash, raw, behind)
  local queue = queue_of(hash)
  if queue.name ~= '' then return end
  local at = behind + 7
  local length = byte(raw, behind + 6) or 0
  if length > 127 then
    length = length - 128 + 128 * (byte(raw, at) or 0)
    at = at + 1
  end
  queue.name = sub(raw, at, at + length - 1)
end
local function flush_queues()
  local written, w = {}, 0
  for hash, queue in pairs(queues) do
    local empty = queue[1] == 0 and queue[2] == 0 and queue[3] == 0 and queue[4] == 0 and queue[5] == 0
    if empty and queue.releases == 1 then
      -- Nothing is left that a release could have freed: what is held later has a greater sequence than all of them.
      for reason = 1, 5 do
        call('HDEL', K.releases, char(reason) .. hash)
        index(K.drain, char(reason) .. hash, false)
      end
      queue.releases = 0
    end
    if empty and queue.known == 0 then
      if queue.raw then
        call('HDEL', K.queues, hash)
        queue.raw = nil
      end
    else
      local raw = pack(QUEUE, FORMAT, queue.known, queue.hold, queue.releases, queue.generation,
        queue[1], queue[2], queue[3], queue[4], queue[5]) .. queue.name
      if raw ~= queue.raw then
        written[w + 1], written[w + 2] = hash, raw
        w = w + 2
        queue.raw = raw
        if w == 1000 then
          call('HSET', K.queues, unpack(written, 1, w))
          w = 0
        end
      end
    end
  end
  if w > 0 then call('HSET', K.queues, unpack(written, 1, w)) end
end
