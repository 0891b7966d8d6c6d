-- Entries: their records, and the way from one state to another with all indexes and counters.
-- `key` is message id and index; `at` the time at which it became due or will be tried.

local ENTRY, ENTRY_SIZE = '>BBBc8c8BBBI8I8I8I8BI8I8I8c16I4I8', 107
local function read_entry(key, raw)
  if not raw or #raw < ENTRY_SIZE or byte(raw, 1) ~= FORMAT then return nil end
  local e = { key = key, id = sub(key, 1, 16) }
  local _, at
  _, e.state, e.prev, e.lane, e.queue, e.priority, e.urgent, e.hold, e.generation, e.attend, e.at, e.sequence, e.reason,
    e.since, e.held_ms, e.token, e.owner, e.recipients, e.received, at = unpick(ENTRY, raw)
  if e.state < INCOMING or e.state > ACTIVE or e.reason > 5 or e.priority > 9 or (e.state == HELD and e.reason == 0) then return nil end
  e.body = sub(raw, at)
  return e
end
local function write_entry(e)
  return pack(ENTRY, FORMAT, e.state, e.prev, e.lane, e.queue, e.priority, e.urgent, e.hold, e.generation, e.attend, e.at,
    e.sequence, e.reason, e.since, e.held_ms, e.token, e.owner, e.recipients, e.received) .. e.body
end
local function save(e) call('HSET', bucket(e.id), e.key, write_entry(e)) end

local function due_member(e) return e.lane .. pack('>BI6', e.priority, min(e.at, 281474976710655)) .. e.key end
local function held_member(e) return char(e.reason) .. e.queue .. pack('>I8', e.sequence) .. e.key end
local function timed_member(e) return e.key .. e.queue end
local function aged_member(queue_hash, key) return queue_hash .. key end -- a key begins with the time of its message
local function tally(queue_hash, state, by)
  local queue = queue_of(queue_hash)
  queue[state] = max(0, queue[state] + by)
  add(STATES[state], by)
end
-- Takes an entry out of the indexes of its state.
local function leave(e)
  local state = e.state
  if state == DUE then
    index(K.due, due_member(e), false)
    local lane = lane_of(e.lane, e.queue)
    lane.due = max(0, lane.due - 1)
  elseif state == DEFERRED then
    index(K.deferred, timed_member(e), false)
  elseif state == HELD then
    index(K.held, held_member(e), false)
  else
    index(K.owned, e.owner .. e.key, false)
  end
  if state == DEFERRED or state == HELD then index(K.ages, aged_member(e.queue, e.key), false) end
  if state ~= INCOMING and state ~= ACTIVE then index(K.attend, timed_member(e), false) end
  tally(e.queue, state, -1)
end
-- Puts it into those of another; the fields that the state needs are set before.
local function enter(e, state)
  e.state = state
  if state == DUE then
    index(K.due, due_member(e), 0)
    local lane = lane_of(e.lane, e.queue)
    lane.due = lane.due + 1
    woken = true
  elseif state == DEFERRED then
    index(K.deferred, timed_member(e), e.at)
  elseif state == HELD then
    index(K.held, held_member(e), 0)
  else
    index(K.owned, e.owner .. e.key, 0)
  end
  if state == DEFERRED or state == HELD then index(K.ages, aged_member(e.queue, e.key), 0) end
  if state ~= INCOMING and state ~= ACTIVE then index(K.attend, timed_member(e), e.attend) end
  name_queue(e.queue, e.body, 0)
  tally(e.queue, state, 1)
end
local function enter_due(e, at)
  e.at, e.reason, e.sequence, e.since, e.token, e.owner = at, 0, 0, 0, 0, NOBODY
  enter(e, DUE)
end
local function enter_deferred(e, at)
  e.at, e.reason, e.sequence, e.since, e.token, e.owner = at, 0, 0, 0, 0, NOBODY
  enter(e, DEFERRED)
end
local function enter_held(e, reason)
  e.reason, e.sequence, e.since, e.token, e.owner = reason, add('sequence', 1), now, 0, NOBODY
  enter(e, HELD)
end
-- The reason for which its queue holds it as it comes, 0 for Online: by the mode it came with, unless newer ones were told.
local function hold_of(e)
  local queue = queue_of(e.queue)
  if queue.known == 1 and e.generation < counters().told then return queue.hold end
  return e.hold
end
local function enter_by_mode(e)
  local reason = hold_of(e)
  if reason == 0 then enter_due(e, now) else enter_held(e, reason) end
end
-- The first ends of fields: keys of all entries that a message has had.
local function entry_keys(id, m)
  local keys = {}
  for i = 0, m.next - 1 do keys[i + 1] = id .. pack('>I2', i) end
  return keys
end
local function read_fields(id, keys)
  local raws = {}
  for first = 1, #keys, 1000 do
    local last = min(first + 999, #keys)
    local part = call('HMGET', bucket(id), unpack(keys, first, last))
    for i = first, last do raws[i] = part[i - first + 1] end
  end
  return raws
end
-- Its incoming entries become due or held; the caller saves the message. Answers how many.
local function activate(id, m)
  local activated, keys = 0, entry_keys(id, m)
  local raws = read_fields(id, keys)
  for i, key in ipairs(keys) do
    local e = read_entry(key, raws[i])
    if e and e.state == INCOMING then
      leave(e)
      enter_by_mode(e)
      save(e)
      activated = activated + 1
    end
  end
  return activated
end
