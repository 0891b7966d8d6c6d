#!lua flags=allow-oom
-- Records a release; moves nothing. KEYS: as in common/keys.lua (ARGV 1 is the time of the release).
-- ARGV: 3 release id, 4 reason, 5 queue hash or '*', 6 most releases kept in a list. Returns {how many entries it freed}.
-- Atomic because the high-water and the count must be of one moment.
local id, reason, scope, most = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
if call('ZSCORE', K.released, id) then return { 0 } end
local high = counters().sequence
local freed, hashes = 0, {}
if scope == '*' then
  -- From queue to queue through the index of what is held for the reason.
  local from = '[' .. char(reason)
  while true do
    local member = call('ZRANGEBYLEX', K.held, from, '(' .. char(reason + 1), 'LIMIT', 0, 1)[1]
    if not member then break end
    hashes[#hashes + 1] = sub(member, 2, 9)
    from = '[' .. sub(member, 1, 9) .. string.rep('\255', 8)
  end
else
  hashes[1] = scope
end
for _, hash in ipairs(hashes) do
  local before = high_water(reason, hash)
  local count = held_count(reason, hash, before, high)
  if count > 0 then mark_draining(reason, hash) end
  local claim = reason <= 2 and count > 0 and claim_of(hash)
  if claim then count = count - held_count(reason, hash, max(before, claim.low[reason]), min(high, claim.high)) end
  freed = freed + count
end
record_release(reason, scope, most)
call('ZADD', K.released, now, id)
flush()
return { freed }
