-- Holds: what is held, what a release has freed of it, and how long an entry was held.

local function held_range(reason, queue_hash, above, upto)
  local prefix = char(reason) .. queue_hash
  return '[' .. prefix .. pack('>I8', above + 1), '[' .. prefix .. pack('>I8', upto) .. string.rep('\255', 19)
end
local function held_count(reason, queue_hash, above, upto)
  if upto <= above then return 0 end
  return call('ZLEXCOUNT', K.held, held_range(reason, queue_hash, above, upto))
end
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
-- Records a release of what a queue holds up to now for a reason ('*': every queue), of which `most` are kept in a list.
local function record_release(reason, scope, most)
  local list, high = releases_of(reason, scope), counters().sequence
  if high == 0 or (#list > 0 and list[#list][1] >= high) then return end
  list[#list + 1] = { high, now }
  -- When there are too many, the oldest goes: what it freed and is not moved yet counts as held until the next one.
  while #list > most do table.remove(list, 1) end
  local packed = {}
  for i, release in ipairs(list) do packed[i] = pack('>I8I8', release[1], release[2]) end
  call('HSET', K.releases, char(reason) .. scope, table.concat(packed))
  if scope ~= '*' then queue_of(scope).releases = 1 end
end
