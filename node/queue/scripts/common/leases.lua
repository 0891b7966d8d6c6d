-- Leases: given, ended, given back.

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
