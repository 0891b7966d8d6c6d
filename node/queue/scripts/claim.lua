#!lua flags=allow-oom
-- Claims what a queue holds for OnRequest and Scheduled. KEYS: as in common/keys.lua.
-- ARGV: 3 incarnation, 4 claim id, 5 queue hash, 6 most entries to list.
-- Returns {4} departed | {0} another has it | {1, entry keys in hold order}.
-- Atomic because one session has it, and its range is of one moment.
local who, id, hash, most = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if not alive(who) then return { 4 } end
local claim = claim_of(hash)
if claim and (claim.id ~= id or claim.who ~= who) then return { 0 } end
if not claim then
  local old = call('HGET', K.claims, 'q' .. hash)
  if old then call('HDEL', K.claims, 'i' .. sub(old, 1, 16)) end
  claim = { id = id, who = who, high = counters().sequence, low = { high_water(1, hash), high_water(2, hash) } }
  call('HSET', K.claims, 'q' .. hash, pack(CLAIM, id, who, claim.high, claim.low[1], claim.low[2]), 'i' .. id, hash)
end
local held = {}
for reason = 1, 2 do
  if claim.high > claim.low[reason] then
    local low, upto = held_range(reason, hash, claim.low[reason], claim.high)
    for _, member in ipairs(call('ZRANGEBYLEX', K.held, low, upto, 'LIMIT', 0, most)) do held[#held + 1] = sub(member, 10) end
  end
end
table.sort(held) -- by sequence, whatever the reason
local keys = {}
for i = 1, min(most, #held) do keys[i] = sub(held[i], -18) end
flush()
return { 1, keys }
