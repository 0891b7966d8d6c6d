#!lua flags=allow-oom
-- Leases entries to an incarnation: those that need attention, then lanes in turn; or the entries of a claim.
-- KEYS: as in common/keys.lua.
-- ARGV: 3 incarnation, 4 most entries, 5 most per lane, 6 claim id or '', 7 lanes to skip (8 octets each), 8 most to move, 9 most octets.
-- Returns {4} departed | {1, keys put into quarantine, then per entry: key, record, message record, content or '', flags (1 attend, 2 probe, 4 held)}.
-- Atomic because an entry must have one lease, and its lane one probe.
local who, most, per_lane, claim_id = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local move, room = tonumber(ARGV[8]), tonumber(ARGV[9])
if not alive(who) then return { 4 } end

local moved = ripen(move)
local woke = woken
woken = false
flush()
woken = woke and moved >= 2 * most

local out, n, given, octets = { 1, damaged }, 2, 0, 0
-- Leases one, if its record, message and content are there. `free_index` takes away what named it when they are not.
local function take(key, state, queue_hash, attended, is_probe, free_index)
  local id = sub(key, 1, 16)
  local raws = call('HMGET', bucket(id), key, id)
  local e = read_entry(key, raws[1])
  if not e then
    free_index()
    quarantine_raw(key, raws[1], state, queue_hash)
    return false
  end
  if e.state == INCOMING or e.state == ACTIVE or (state and e.state ~= state) then
    free_index() -- it stands in an index that is not its state's
    return false
  end
  local m = read_message(raws[2])
  local content = m and (m.chunks > 0 and '' or call('HGET', contents(id), id))
  if not m or not content then
    quarantine(e)
    return false
  end
  if e.state == HELD and is_free(e) then free(e) end
  lease(e, who)
  if is_probe then lane_of(e.lane, e.queue).probe = e.token end
  save(e)
  out[n + 1], out[n + 2], out[n + 3], out[n + 4] = key, write_entry(e), raws[2], content
  -- What a claim leases is held until then, and is to be attempted all the same.
  local held = e.prev == HELD and claim_id == ''
  out[n + 5] = (attended and 1 or 0) + (is_probe and 2 or 0) + (held and 4 or 0)
  n, given, octets = n + 5, given + 1, octets + #content + #e.body
  return true
end
local function full() return given >= most or octets >= room end

if claim_id ~= '' then
  local queue_hash = call('HGET', K.claims, 'i' .. claim_id)
  local claim = queue_hash and claim_of(queue_hash)
  if claim and claim.id == claim_id and claim.who == who then
    local held = {}
    for reason = 1, 2 do
      if claim.high > claim.low[reason] then
        local low, upto = held_range(reason, queue_hash, claim.low[reason], claim.high)
        for _, member in ipairs(call('ZRANGEBYLEX', K.held, low, upto, 'LIMIT', 0, most)) do held[#held + 1] = member end
      end
    end
    table.sort(held, function(a, b) return sub(a, 10) < sub(b, 10) end) -- by sequence, whatever the reason
    for _, member in ipairs(held) do
      if full() then break end
      take(sub(member, -18), HELD, queue_hash, false, false, function() index(K.held, member, false) end)
    end
  end
  flush()
  return out
end

-- What needs attention, wherever it waits. Claimed ones are stepped over.
local page, from = max(most, 100), 0
for _ = 1, 10 do
  if full() then break end
  local members = call('ZRANGEBYSCORE', K.attend, '-inf', now, 'LIMIT', from, page)
  for _, member in ipairs(members) do
    if full() then break end
    local key, queue_hash = sub(member, 1, 18), sub(member, 19)
    local e = read_entry(key, call('HGET', bucket(key), key))
    if not (e and e.state == HELD and is_claimed(e)) then
      -- One that cannot be read is found again, and put aside, through the index of its state.
      if e then
        take(key, nil, queue_hash, true, false, function() index(K.attend, member, false) end)
      else
        index(K.attend, member, false)
      end
    end
  end
  if #members < page then break end
  from = from + page
end
flush() -- the lanes that they were in are read again below

local skip = {}
for at = 1, #ARGV[7], 8 do skip[sub(ARGV[7], at, at + 7)] = true end
local function serve(id, is_probe)
  local lane = lane_of(id, nil)
  local wanted = min(is_probe and 1 or most, per_lane, most - given)
  if wanted < 1 then return end
  local members = call('ZRANGEBYLEX', K.due, '[' .. id, '(' .. id .. '\255', 'LIMIT', 0, wanted)
  if #members == 0 then lane.due = 0 end
  local before = given
  for _, member in ipairs(members) do
    if full() then break end
    local leased = take(sub(member, -18), DUE, lane.queue, false, is_probe, function()
      index(K.due, member, false)
      lane.due = max(0, lane.due - 1)
    end)
    if leased and is_probe then break end
  end
  if given > before then lane.turn = add('turn', 1) end
end
local served = {}
-- Serves up to `limit` lanes of an index in its order.
local function serve_index(name, upto, is_probe, limit)
  local offset, turns = 0, 0
  local ids = {}
  repeat
    local part = call('ZRANGEBYSCORE', name, '-inf', upto, 'LIMIT', offset, 200)
    for _, id in ipairs(part) do
      if not skip[id] and not served[id] then ids[#ids + 1] = id end
    end
    offset = offset + #part
  until #part < 200 or #ids >= most or offset >= 4000
  for _, id in ipairs(ids) do
    if full() or turns >= limit then break end
    served[id] = true
    serve(id, is_probe)
    turns = turns + 1
  end
end
-- Probes first, but never more than half of the lease: many dead next hops do not keep live ones waiting.
if not full() then serve_index(K.wait, now, true, max(1, math.floor((most - given) / 2))) end
if not full() then serve_index(K.ready, '+inf', false, most) end
if not full() then serve_index(K.wait, now, true, most) end
flush()
return out
