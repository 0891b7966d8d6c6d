-- What the functions share. It is put in front of each of them when they are loaded; it is no function itself.
-- KEYS, the same for all, in one slot: 1-16 buckets of records, 17-32 buckets of inline contents, then the list below; more, where a
-- function says so, are the keys of chunked contents.
-- ARGV: 1 now (ms), 2 the wake-up channel; the rest is the function's own.
-- Records are cached, and indexes and counters gathered, until flush(): a batch writes each lane, queue and counter once.
local call, pack, unpick = redis.call, struct.pack, struct.unpack
local sub, byte, char = string.sub, string.byte, string.char
local min, max = math.min, math.max
local now, channel = tonumber(ARGV[1]), ARGV[2]
local K = {
  due = KEYS[33], held = KEYS[34], owned = KEYS[35], deferred = KEYS[36], attend = KEYS[37], ready = KEYS[38], wait = KEYS[39],
  backed = KEYS[40], drain = KEYS[41], lanes = KEYS[42], queues = KEYS[43], releases = KEYS[44], released = KEYS[45],
  claims = KEYS[46], beats = KEYS[47], counters = KEYS[48], budget = KEYS[49], permits = KEYS[50], rates = KEYS[51],
  rate_ends = KEYS[52], facts = KEYS[53], fact_ends = KEYS[54], jobs = KEYS[55], job_times = KEYS[56], job_owners = KEYS[57],
  tombs = KEYS[58],
}
local FORMAT = 1
local INCOMING, DUE, DEFERRED, HELD, ACTIVE = 1, 2, 3, 4, 5
local STATES = { 'incoming', 'due', 'deferred', 'held', 'active' }
local QUARANTINE, ADMINISTRATOR = 5, 4
local NOBODY = string.rep('\0', 16)

-- ---- Counters: entries by state, the accounting, tokens, hold sequences, turns of lanes. ----
local COUNTERS = { 'incoming', 'due', 'deferred', 'held', 'active', 'accepted', 'expanded', 'generated', 'delivered', 'relayed',
  'failed', 'fetched', 'deleted', 'discarded', 'queued', 'token', 'sequence', 'turn' }
local cnt, cnt_before
local function counters()
  if not cnt then
    local raw = call('HMGET', K.counters, unpack(COUNTERS))
    cnt, cnt_before = {}, {}
    for i, name in ipairs(COUNTERS) do
      local value = tonumber(raw[i] or 0)
      cnt[name], cnt_before[name] = value, value
    end
  end
  return cnt
end
local function add(name, by)
  local c = counters()
  c[name] = c[name] + by
  return c[name]
end

-- ---- Indexes: what changes is gathered per key and member; the last change counts. ----
local changes = {}
local woken = false
local function index(key, member, score) -- score false: remove
  local of = changes[key]
  if not of then
    of = {}
    changes[key] = of
  end
  of[member] = score
end
local function flush_index(key, of)
  local added, a, removed, r = {}, 0, {}, 0
  for member, score in pairs(of) do
    if score then
      added[a + 1], added[a + 2] = score, member
      a = a + 2
      if a == 1000 then
        call('ZADD', key, unpack(added, 1, a))
        a = 0
      end
    else
      r = r + 1
      removed[r] = member
      if r == 1000 then
        call('ZREM', key, unpack(removed, 1, r))
        r = 0
      end
    end
  end
  if a > 0 then call('ZADD', key, unpack(added, 1, a)) end
  if r > 0 then call('ZREM', key, unpack(removed, 1, r)) end
end

-- ---- Lanes: back-off, the one probe, how many are due, when it had its last turn, and in which index it stands. ----
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

-- ---- Queues: the mode, whether releases are recorded, entries by state. ----
local QUEUE, QUEUE_SIZE = '>BBBBI8I6I6I6I6I6', 42
local queues = {}
local function parse_queue(hash, raw)
  local queue = { known = 0, hold = 0, releases = 0, generation = 0, 0, 0, 0, 0, 0 }
  if raw and #raw == QUEUE_SIZE and byte(raw, 1) == FORMAT then
    local _
    _, queue.known, queue.hold, queue.releases, queue.generation,
      queue[1], queue[2], queue[3], queue[4], queue[5] = unpick(QUEUE, raw)
    queue.raw = raw
  end
  queues[hash] = queue
  return queue
end
local function queue_of(hash)
  return queues[hash] or parse_queue(hash, call('HGET', K.queues, hash))
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
        queue[1], queue[2], queue[3], queue[4], queue[5])
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

-- Reads the lanes and queues of a batch in two calls.
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

-- ---- Incarnations. ----
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

-- ---- Messages. ----
local MESSAGE, MESSAGE_SIZE = '>BBI2I2I4BBI4I4I8', 28
local function bucket(id) return KEYS[byte(id, 16) % 16 + 1] end
local function contents(id) return KEYS[byte(id, 16) % 16 + 17] end
-- nil when it is not there, withdrawn, or not readable.
local function read_message(raw)
  if not raw or #raw < MESSAGE_SIZE or byte(raw, 1) ~= FORMAT or byte(raw, 2) ~= 1 then return nil end
  local m = {}
  local _, at
  _, _, m.remaining, m.next, m.chunks, m.confirmed, m.origin, m.named, m.total, m.size, at = unpick(MESSAGE, raw)
  m.meta = sub(raw, at)
  return m
end
local function write_message(m)
  return pack(MESSAGE, FORMAT, 1, m.remaining, m.next, m.chunks, m.confirmed, m.origin, m.named, m.total, m.size) .. m.meta
end
local function is_tombstone(raw) return raw and #raw == 2 and byte(raw, 2) == 2 end
-- Takes a message into the accounting, once.
local function confirm(m)
  if m.confirmed == 1 then return false end
  m.confirmed = 1
  add(m.origin == 1 and 'accepted' or 'generated', m.named)
  if m.total > m.named then add('expanded', m.total - m.named) end
  if m.total < m.named then add('discarded', m.named - m.total) end
  add('queued', m.total)
  return true
end

-- ---- Entries: `key` is message id and index; `at` the time at which it became due or will be tried. ----
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
  if state ~= INCOMING and state ~= ACTIVE then index(K.attend, timed_member(e), e.attend) end
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
-- The reason for which its queue holds it as it comes, 0 for Online: the newer of the mode it came with and the stored one.
local function hold_of(e)
  local queue = queue_of(e.queue)
  if queue.generation > e.generation then return queue.hold end
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

-- ---- Releases and claims. ----
local release_lists = {}
-- The releases for a reason and a queue ('*': for all), oldest first: pairs of high-water and time.
local function releases_of(reason, scope)
  local field = char(reason) .. scope
  local list = release_lists[field]
  if not list then
    list = {}
    local raw = call('HGET', K.releases, field)
    if raw then
      for at = 1, #raw, 16 do
        local high, time = unpick('>I8I8', raw, at)
        list[#list + 1] = { high, time }
      end
    end
    release_lists[field] = list
  end
  return list
end
local function high_water(reason, queue_hash)
  local own, all = releases_of(reason, queue_hash), releases_of(reason, '*')
  return max(#own > 0 and own[#own][1] or 0, #all > 0 and all[#all][1] or 0)
end
-- When what was held with this sequence was released first; nil: it was not.
local function released_at(reason, queue_hash, sequence)
  local first
  for _, list in ipairs({ releases_of(reason, queue_hash), releases_of(reason, '*') }) do
    for _, release in ipairs(list) do
      if release[1] >= sequence then
        first = first and min(first, release[2]) or release[2]
        break
      end
    end
  end
  return first
end
local CLAIM = '>c16c16I8I8I8'
local claims = {}
-- The claim on a queue until its incarnation is reaped: up to then a late heartbeat can still save it.
local function claim_of(queue_hash)
  local claim = claims[queue_hash]
  if claim == nil then
    claim = false
    local raw = call('HGET', K.claims, 'q' .. queue_hash)
    if raw then
      claim = { low = {} }
      claim.id, claim.who, claim.high, claim.low[1], claim.low[2] = unpick(CLAIM, raw)
    end
    claims[queue_hash] = claim
  end
  if not claim or not deadline(claim.who) then return nil end
  return claim
end
local function is_claimed(e)
  if e.reason > 2 then return false end
  local claim = claim_of(e.queue)
  return claim ~= nil and e.sequence <= claim.high and e.sequence > claim.low[e.reason]
end
local function held_range(reason, queue_hash, above, upto)
  local prefix = char(reason) .. queue_hash
  return '[' .. prefix .. pack('>I8', above + 1), '[' .. prefix .. pack('>I8', upto) .. string.rep('\255', 19)
end
local function held_count(reason, queue_hash, above, upto)
  if upto <= above then return 0 end
  return call('ZLEXCOUNT', K.held, held_range(reason, queue_hash, above, upto))
end
local ENDLESS = 9007199254740991
-- How many of a queue are held for a reason and not free, and how many are free but not yet moved.
local function held_and_free(reason, queue_hash)
  local high = high_water(reason, queue_hash)
  local held, free = held_count(reason, queue_hash, high, ENDLESS), high > 0 and held_count(reason, queue_hash, 0, high) or 0
  local claim = reason <= 2 and free > 0 and claim_of(queue_hash)
  if claim then
    -- A release during a claim takes effect when the claim ends.
    local kept = held_count(reason, queue_hash, claim.low[reason], min(high, claim.high))
    held, free = held + kept, free - kept
  end
  return held, free
end
-- Whether an entry in `held` is free by now.
local function is_free(e)
  return released_at(e.reason, e.queue, e.sequence) ~= nil and not is_claimed(e)
end
-- What it has been held in all, if its hold ends now or ended at its release.
local function held_total(e)
  if e.state ~= HELD then return e.held_ms end
  local ended = min(now, not is_claimed(e) and released_at(e.reason, e.queue, e.sequence) or now)
  return e.held_ms + max(0, ended - e.since)
end
local function mark_draining(reason, queue_hash)
  index(K.drain, char(reason) .. queue_hash, 0)
  woken = true
end
-- Makes a released entry due, from the time of its release on.
local function free(e)
  local at = min(now, released_at(e.reason, e.queue, e.sequence) or now)
  e.held_ms = held_total(e)
  leave(e)
  enter_due(e, at)
end

-- ---- Leases. ----
local function lease(e, who)
  e.held_ms, e.prev = held_total(e), e.state
  leave(e)
  e.owner, e.token = who, add('token', 1)
  enter(e, ACTIVE)
  return e.token
end
local function end_probe(e)
  local lane = lane_of(e.lane, e.queue)
  if lane.probe == e.token then
    lane.probe = 0
    if lane.due > 0 then woken = true end
  end
  return lane
end
-- As it was before the lease.
local function give_back(e)
  end_probe(e)
  leave(e)
  e.token, e.owner = 0, NOBODY
  if e.prev == HELD then
    e.since = now -- the lease has counted what came before it
    enter(e, HELD)
    if released_at(e.reason, e.queue, e.sequence) then mark_draining(e.reason, e.queue) end
  elseif e.prev == DEFERRED then
    enter(e, DEFERRED)
  else
    enter(e, DUE)
  end
end

-- ---- Quarantine. ----
local damaged = {}
local function quarantine(e)
  if e.state == ACTIVE then end_probe(e) end
  e.held_ms = held_total(e)
  leave(e)
  e.attend = ENDLESS -- nobody could do anything about it
  enter_held(e, QUARANTINE)
  save(e)
  damaged[#damaged + 1] = e.key
end
-- A record whose head cannot be read becomes the body of a new one, which is held; the indexes that named it are the caller's to clean.
local function quarantine_raw(key, raw, state, queue_hash, lane_id)
  tally(queue_hash, state, -1)
  damaged[#damaged + 1] = key
  if not raw then return end -- an index without its record: nothing is left to hold
  local e = {
    key = key, id = sub(key, 1, 16), state = HELD, prev = 0, lane = lane_id or sub(NOBODY, 1, 8), queue = queue_hash, priority = 9,
    urgent = 0, hold = 0, generation = 0, attend = ENDLESS, at = now, sequence = 0, reason = 0, since = now, held_ms = 0,
    token = 0, owner = NOBODY, recipients = 0, received = 0, body = raw,
  }
  enter_held(e, QUARANTINE)
  save(e)
end

-- Moves what is due by time or by release, at most so many of each. Answers how many it moved; as many as `most` of either: there may be more.
local function ripen(most)
  local timed = call('ZRANGEBYSCORE', K.deferred, '-inf', now, 'LIMIT', 0, most)
  for _, member in ipairs(timed) do
    local key, queue_hash = sub(member, 1, 18), sub(member, 19)
    local raw = call('HGET', bucket(key), key)
    local e = read_entry(key, raw)
    if not e then
      index(K.deferred, member, false)
      index(K.attend, member, false)
      quarantine_raw(key, raw, DEFERRED, queue_hash)
    elseif e.state ~= DEFERRED then
      index(K.deferred, member, false)
    else
      local at = e.at
      leave(e)
      enter_due(e, at)
      save(e)
    end
  end

  -- A claimed part waits for the end of its claim; a queue stays in the index until nothing free is left of it.
  local moved = 0
  for _, member in ipairs(call('ZRANGEBYLEX', K.drain, '-', '+', 'LIMIT', 0, 1000)) do
    if moved >= most then break end
    local reason, queue_hash = byte(member, 1), sub(member, 2)
    local high = high_water(reason, queue_hash)
    local claim = reason <= 2 and claim_of(queue_hash)
    local parts = { { 0, high } }
    if claim then parts = { { 0, min(high, claim.low[reason]) }, { claim.high, high } } end
    for _, part in ipairs(parts) do
      if part[2] > part[1] and moved < most then
        local low, upto = held_range(reason, queue_hash, part[1], part[2])
        for _, held in ipairs(call('ZRANGEBYLEX', K.held, low, upto, 'LIMIT', 0, most - moved)) do
          local key = sub(held, -18)
          local raw = call('HGET', bucket(key), key)
          local e = read_entry(key, raw)
          moved = moved + 1
          if not e then
            index(K.held, held, false)
            index(K.attend, key .. queue_hash, false)
            quarantine_raw(key, raw, HELD, queue_hash)
          elseif e.state ~= HELD then
            index(K.held, held, false)
          else
            free(e)
            save(e)
          end
        end
      end
    end
    if moved < most and not (claim and held_count(reason, queue_hash, claim.low[reason], min(high, claim.high)) > 0) then
      index(K.drain, member, false)
      local own = releases_of(reason, queue_hash)
      if #own > 1 then -- nothing is held below the last one: the older ones tell nothing any more
        release_lists[member] = { own[#own] }
        call('HSET', K.releases, member, pack('>I8I8', own[#own][1], own[#own][2]))
      end
    end
  end
  return max(#timed, moved)
end

-- ---- New messages. ----
-- Applies the linear map "append so many zero octets" (32 images of single bits) to a CRC-32.
local function shifted(images, crc)
  local result = 0
  for i = 0, 31 do
    if bit.band(bit.rshift(crc, i), 1) == 1 then result = bit.bxor(result, images[i + 1]) end
  end
  return result
end
local function images_of(packed, at)
  local images = {}
  for i = 1, 32 do images[i] = bit.tobit((unpick('>I4', packed, at + (i - 1) * 4))) end
  return images
end
-- Count, length and checksum of chunked content against what the message says. `spec`: CRC-32, images for a full chunk, for the last.
local function chunks_error(key, m, spec)
  local stored, ends = call('HLEN', key), tonumber(call('HGET', key, 'ends') or 0)
  if stored == 0 or ends <= now then return 'its chunks were not stored, or too long ago' end
  if stored ~= 2 * m.chunks + 1 then return 'there are other chunks than ' .. m.chunks end
  local fields = {}
  for i = 1, m.chunks do fields[i] = (i - 1) .. 'm' end
  local full, last_one = images_of(spec, 5), images_of(spec, 133)
  local crc, length, found = 0, 0, 0
  for first = 1, m.chunks, 1000 do
    local last = min(first + 999, m.chunks)
    local notes = call('HMGET', key, unpack(fields, first, last))
    for i = first, last do
      local note = notes[i - first + 1]
      if not note then return 'chunk ' .. (i - 1) .. ' was not stored' end
      local octets, sum = unpick('>I4I4', note)
      if i < m.chunks and octets ~= 65536 then return 'chunk ' .. (i - 1) .. ' has ' .. octets .. ' octets' end
      crc = bit.bxor(shifted(i < m.chunks and full or last_one, crc), bit.tobit(sum))
      length, found = length + octets, found + 1
    end
  end
  if length ~= m.size then return 'the chunks have ' .. length .. ' octets, the message ' .. m.size end
  if crc ~= bit.tobit((unpick('>I4', spec))) then return 'the checksum of the chunks is not the message\'s' end
  return nil
end
