-- Claims: what a session has for itself out of what its queue holds.

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
