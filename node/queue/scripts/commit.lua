#!lua flags=allow-oom
-- Activates, withdraws and settles: a batch of steps, each on its own.
-- KEYS: as in common/keys.lua, then the keys of chunked contents.
-- ARGV: 3 how many, 4 how long a tombstone lasts; per step its kind and what that needs:
--   'a' id; 'w' id, number of its content key;
--   's' a packed control record (CONTROL below), number of its content key, body or '', records of the parts of a split; with a child:
--   number of its content key or 0, check of its chunks, id, message record, content, how many entries, their records.
-- Returns per step {1} | 'w': {1} removed, {2} not there, {3} too late | 's': {1} done, {2} stale, {5, why} refused.
-- Atomic because an outcome, the rest of the entry, its child, the lane and the counters must change together.
-- It may use memory beyond the limit: a full store must drain.
local CONTROL = '>c18c16I8I4BI8BI8I8I4I4I4I4I4I4I4I2B'
local OUTCOMES = { 'delivered', 'relayed', 'failed', 'fetched', 'deleted', 'discarded' }
local GIVE_BACK, DEFER, HOLD_AGAIN, ASIDE, SPLIT = 0, 1, 2, 3, 4
local tomb_life = tonumber(ARGV[4])

local function activate_step(id)
  local m = read_message(call('HGET', bucket(id), id))
  if m then
    local confirmed = confirm(m)
    activate(id, m)
    if confirmed then call('HSET', bucket(id), id, write_message(m)) end
  end
  return { 1 }
end

local function drop_content(id, m, content_key)
  if m.chunks > 0 then call('UNLINK', content_key) else call('HDEL', contents(id), id) end
end

local function withdraw_step(id, content_key)
  local raw = call('HGET', bucket(id), id)
  local m = read_message(raw)
  if raw and not m and not is_tombstone(raw) then return { 3 } end -- it cannot be read: it stays, and is quarantined by who leases it
  if m and m.confirmed == 1 then return { 3 } end
  if m then
    local keys = entry_keys(id, m)
    local raws = read_fields(id, keys)
    for i, key in ipairs(keys) do
      local e = read_entry(key, raws[i])
      if e then leave(e) end
    end
    for first = 1, #keys, 1000 do call('HDEL', bucket(id), unpack(keys, first, min(first + 999, #keys))) end
    drop_content(id, m, content_key)
  else
    call('UNLINK', content_key)
  end
  call('HSET', bucket(id), id, char(FORMAT, 2))
  index(K.tombs, id, now + tomb_life)
  return { m and 1 or 2 }
end

-- Stores the child: confirmed and due at once, since it is as durable as the step that it is born in.
local function give_birth(first, m)
  local content_key, id, content = KEYS[tonumber(ARGV[first])], ARGV[first + 2], ARGV[first + 4]
  confirm(m)
  local fields = { id, write_message(m) }
  for j = 0, tonumber(ARGV[first + 5]) - 1 do
    local key = id .. pack('>I2', j)
    local e = read_entry(key, ARGV[first + 6 + j])
    enter_by_mode(e)
    local n = #fields
    fields[n + 1], fields[n + 2] = key, write_entry(e)
  end
  for part = 1, #fields, 1000 do call('HSET', bucket(id), unpack(fields, part, min(part + 999, #fields))) end
  if m.chunks > 0 then call('PERSIST', content_key) else call('HSET', contents(id), id, content) end
end

local function settle_step(at, key, who, token, recipients, remainder, time, signal, backoff, attend, tallies, staying, parts, child, content_key)
  local id = sub(key, 1, 16)
  local raws = call('HMGET', bucket(id), id, key)
  local m, e = read_message(raws[1]), read_entry(key, raws[2])
  if not e or e.state ~= ACTIVE or e.token ~= token or e.owner ~= who then return { 2 } end
  if not m then return { 5, 'its message cannot be read' } end
  if e.recipients ~= recipients then return { 5, 'the entry has ' .. e.recipients .. ' recipients, not ' .. recipients } end
  if remainder == SPLIT and m.next + parts > 65535 then return { 5, 'split too often' } end
  local body, first_child = ARGV[at + 3], at + 4 + parts
  local born
  if child == 1 then
    local child_id = ARGV[first_child + 2]
    if not call('HGET', bucket(child_id), child_id) then
      born = read_message(ARGV[first_child + 3])
      local why = born.chunks > 0 and chunks_error(KEYS[tonumber(ARGV[first_child])], born, ARGV[first_child + 1])
      if why then return { 5, why } end
    end
  end

  -- Everything is checked: from here on it is written.
  if confirm(m) and m.next > 1 then activate(id, m) end
  local settled = 0
  for i, name in ipairs(OUTCOMES) do
    if tallies[i] > 0 then
      add(name, tallies[i])
      settled = settled + tallies[i]
    end
  end
  if settled > 0 then add('queued', -settled) end

  local lane = end_probe(e)
  if signal == 1 then
    open_lane(lane)
  elseif signal == 2 then
    lane.backoff = max(lane.backoff, backoff)
  end

  if staying > 0 and remainder ~= SPLIT then
    e.recipients, e.attend = staying, attend
    if body ~= '' then e.body = body end
    if remainder == GIVE_BACK then
      give_back(e)
    else
      leave(e)
      local reason = remainder == HOLD_AGAIN and queue_of(e.queue).hold or 0
      if remainder == ASIDE then
        enter_held(e, QUARANTINE)
      elseif reason > 0 then
        enter_held(e, reason)
      else
        enter_deferred(e, time)
      end
    end
    call('HSET', bucket(id), id, write_message(m), key, write_entry(e))
  else
    leave(e)
    m.remaining = m.remaining - 1
    if staying > 0 then
      for j = 1, parts do
        local new_key = id .. pack('>I2', m.next)
        local part = read_entry(new_key, ARGV[at + 3 + j])
        part.held_ms, part.received = e.held_ms, e.received
        m.next, m.remaining = m.next + 1, m.remaining + 1
        enter_by_mode(part)
        save(part)
      end
    end
    if m.remaining == 0 then
      call('HDEL', bucket(id), id, key)
      drop_content(id, m, content_key)
    else
      call('HDEL', bucket(id), key)
      call('HSET', bucket(id), id, write_message(m))
    end
  end
  if born then give_birth(first_child, born) end
  return { 1 }
end

local at, steps = 5, {}
for i = 1, tonumber(ARGV[3]) do
  steps[i] = at
  local kind = ARGV[at]
  if kind == 'a' then
    at = at + 2
  elseif kind == 'w' then
    at = at + 3
  else
    local parts, child = unpick('>I2B', ARGV[at + 1], 101)
    at = at + 4 + parts
    if child == 1 then at = at + 6 + tonumber(ARGV[at + 5]) end
  end
end

local replies = {}
for i, first in ipairs(steps) do
  local kind = ARGV[first]
  if kind == 'a' then
    replies[i] = activate_step(ARGV[first + 1])
  elseif kind == 'w' then
    replies[i] = withdraw_step(ARGV[first + 1], KEYS[tonumber(ARGV[first + 2])])
  else
    local key, who, token, recipients, remainder, time, signal, backoff, attend, t1, t2, t3, t4, t5, t6, staying, parts, child =
      unpick(CONTROL, ARGV[first + 1])
    replies[i] = settle_step(first, key, who, token, recipients, remainder, time, signal, backoff, attend,
      { t1, t2, t3, t4, t5, t6 }, staying, parts, child, KEYS[tonumber(ARGV[first + 2])])
  end
end
flush()
return replies
