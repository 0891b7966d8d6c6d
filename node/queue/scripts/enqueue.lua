#!lua
-- Enqueues a batch of messages, each on its own: one that is refused harms no other.
-- KEYS: as in common/keys.lua, then the keys of chunked contents.
-- ARGV: 3 how many; per message: incarnation, id, number of its content key or 0, check of its chunks or '', message record, content,
-- how many entries, and their records (state 5 where a lease is wanted at once, else 1).
-- Returns per message {1, token or 0 per entry} | {2} there already | {3} withdrawn | {4} departed | {5, why} refused.
-- Atomic because message, content, entries, leases and counters must appear together, and no lease may be given past an older entry.
local at, messages = 4, {}
local lane_queues, queue_hashes = {}, {}
for i = 1, tonumber(ARGV[3]) do
  local entries = tonumber(ARGV[at + 6])
  messages[i] = at
  for j = at + 7, at + 6 + entries do
    local queue_hash = sub(ARGV[j], 12, 19)
    if byte(ARGV[j], 2) == ACTIVE then lane_queues[sub(ARGV[j], 4, 11)] = queue_hash end
    queue_hashes[queue_hash] = true
  end
  at = at + 7 + entries
end
prefetch(lane_queues, queue_hashes)
-- An entry that has become due by time or release is older than one that comes now.
local open = next(lane_queues) ~= nil and ripen(100) < 100

local replies = {}
for i, first in ipairs(messages) do
  local who, id, content_key, spec, record, content = unpack(ARGV, first, first + 5)
  content_key = KEYS[tonumber(content_key)]
  local entries = tonumber(ARGV[first + 6])
  local there = call('HGET', bucket(id), id)
  local m = read_message(record)
  local why = not there and m.chunks > 0 and chunks_error(content_key, m, spec)
  if not alive(who) then
    replies[i] = { 4 }
  elseif is_tombstone(there) then
    replies[i] = { 3 }
  elseif there then
    replies[i] = { 2 }
  elseif why then
    replies[i] = { 5, why }
  else
    local reply, fields = { 1 }, { id, record }
    for j = 0, entries - 1 do
      local raw, key = ARGV[first + 7 + j], id .. pack('>I2', j)
      local token = 0
      if byte(raw, 2) == ACTIVE then
        local e = read_entry(key, raw)
        local lane = lane_of(e.lane, e.queue)
        e.at = now
        if open and hold_of(e) == 0 and lane.due == 0 and lane.backoff == 0 then
          token = add('token', 1)
          e.token, e.prev = token, DUE
        else
          e.state = INCOMING
        end
        raw = write_entry(e)
        tally(e.queue, e.state, 1)
      else
        tally(sub(raw, 12, 19), INCOMING, 1)
      end
      name_queue(sub(raw, 12, 19), raw, ENTRY_SIZE)
      index(K.owned, who .. key, 0)
      reply[j + 2] = token
      local n = #fields
      fields[n + 1], fields[n + 2] = key, raw
    end
    for part = 1, #fields, 1000 do
      call('HSET', bucket(id), unpack(fields, part, min(part + 999, #fields)))
    end
    if m.chunks > 0 then
      call('PERSIST', content_key)
    else
      call('HSET', contents(id), id, content)
    end
    replies[i] = reply
  end
end
flush()
return replies
