-- Ripening: what became due by its time or by a release is moved, a bounded part at a time.

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
