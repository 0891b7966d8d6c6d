#!lua flags=allow-oom
-- Ends dead incarnations, or one by name, and prunes what is over; a bounded part of it.
-- KEYS: as in common/keys.lua. ARGV: 3 incarnation to end or '', 4 most entries, 5 how long the mark of a departed one is kept.
-- Returns {incarnations found dead, leases given back, entries activated, 1 if more is left to do}.
-- Atomic because what an incarnation held must not be seen both its own and given back.
local only, most, keep = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local found, leases, activated, left = 0, 0, 0, 0
local dead = {}
if only ~= '' then
  local beat = call('HGET', K.beats, only)
  if beat and sub(beat, 1, 1) ~= 'x' then
    if beat ~= 'r' then found = 1 end
    dead[1] = only
  end
else
  local all = call('HGETALL', K.beats)
  for i = 1, #all, 2 do
    local who, beat = all[i], all[i + 1]
    local ends = tonumber(beat)
    if beat == 'r' then
      dead[#dead + 1] = who
    elseif ends and ends <= now then
      found = found + 1
      dead[#dead + 1] = who
    elseif sub(beat, 1, 1) == 'x' and (tonumber(sub(beat, 2)) or 0) + keep <= now then
      call('HDEL', K.beats, who)
    end
  end
end

-- Gives back one entry, or activates its message.
local function end_entry(who, key)
  local id = sub(key, 1, 16)
  local raws = call('HMGET', bucket(id), key, id)
  local e, m = read_entry(key, raws[1]), read_message(raws[2])
  if not e then
    index(K.owned, who .. key, false)
    quarantine_raw(key, raws[1], ACTIVE, sub(NOBODY, 1, 8))
    return
  end
  if (e.state ~= INCOMING and e.state ~= ACTIVE) or e.owner ~= who then
    index(K.owned, who .. key, false)
    return
  end
  if not m then
    quarantine(e)
    return
  end
  local confirmed = confirm(m)
  if e.state == ACTIVE then
    give_back(e)
    save(e)
    leases = leases + 1
    if confirmed then activated = activated + activate(id, m) end
  else
    activated = activated + activate(id, m)
  end
  if confirmed then call('HSET', bucket(id), id, write_message(m)) end
end

for _, who in ipairs(dead) do
  call('HSET', K.beats, who, 'r')
  beats[who] = false
  local members = most > 0 and call('ZRANGEBYLEX', K.owned, '[' .. who, '[' .. who .. string.rep('\255', 18), 'LIMIT', 0, most) or { '' }
  if members[1] == '' then
    left = 1
  else
    local ended = {}
    for _, member in ipairs(members) do
      local key = sub(member, 17)
      -- An activation takes all entries of its message: those are done already.
      if not (changes[K.owned] and changes[K.owned][member] == false) then end_entry(who, key) end
    end
    local full = #members == most
    most = most - #members
    flush()
    if full then
      left = 1
    else
      call('HSET', K.beats, who, 'x' .. string.format('%.0f', now))
      call('HDEL', K.budget, who)
      local held = call('HGETALL', K.claims)
      for i = 1, #held, 2 do
        if sub(held[i], 1, 1) == 'q' then
          local id, claimer = unpick('>c16c16', held[i + 1])
          if claimer == who then
            call('HDEL', K.claims, held[i], 'i' .. id)
            woken = true
          end
        end
      end
      local permits = call('HGETALL', K.permits)
      for i = 1, #permits, 2 do
        local rest, raw = {}, permits[i + 1]
        for at = 1, #raw, 20 do
          if sub(raw, at, at + 15) ~= who then rest[#rest + 1] = sub(raw, at, at + 19) end
        end
        rest = table.concat(rest)
        if rest == '' then
          call('HDEL', K.permits, permits[i])
        elseif rest ~= raw then
          call('HSET', K.permits, permits[i], rest)
        end
      end
      local owners = call('HGETALL', K.job_owners)
      for i = 1, #owners, 2 do
        if sub(owners[i + 1], 1, 16) == who then
          call('HDEL', K.job_owners, owners[i])
          local job = call('HGET', K.jobs, owners[i])
          if job then call('ZADD', K.job_times, (unpick('>I8', job)), owners[i]) end
        end
      end
    end
  end
end

if only == '' then
  local over = call('ZRANGEBYSCORE', K.tombs, '-inf', now, 'LIMIT', 0, 500)
  for _, id in ipairs(over) do
    if is_tombstone(call('HGET', bucket(id), id)) then call('HDEL', bucket(id), id) end
    index(K.tombs, id, false)
  end
  for _, field in ipairs(call('ZRANGEBYSCORE', K.fact_ends, '-inf', now, 'LIMIT', 0, 500)) do
    call('HDEL', K.facts, field)
    index(K.fact_ends, field, false)
  end
  for _, field in ipairs(call('ZRANGEBYSCORE', K.rate_ends, '-inf', now, 'LIMIT', 0, 500)) do
    call('HDEL', K.rates, field)
    index(K.rate_ends, field, false)
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', K.released, '-inf', now - keep, 'LIMIT', 0, 500)) do index(K.released, id, false) end
  -- A lane without mail that has not been tried for a day starts anew.
  for _, id in ipairs(call('ZRANGEBYSCORE', K.backed, '-inf', now - 86400000, 'LIMIT', 0, 200)) do
    local lane = lane_of(id, sub(NOBODY, 1, 8))
    if lane.due == 0 then open_lane(lane) end
  end
end
flush()
return { found, leases, activated, left }
