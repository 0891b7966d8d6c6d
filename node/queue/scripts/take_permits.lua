#!lua flags=allow-oom
-- Grants connection permits of a next hop. KEYS: as in common/keys.lua.
-- ARGV: 3 incarnation, 4 next hop, 5 wanted, 6 limit. Returns {4} departed | {1, granted}.
-- Atomic because the sum over live incarnations decides.
local who, hop = ARGV[3], ARGV[4]
if not alive(who) then return { 4 } end
local raw = call('HGET', K.permits, hop) or ''
local own, sum, rest = 0, 0, {}
for at = 1, #raw, 20 do
  local holder, permits = unpick('>c16I4', raw, at)
  if holder == who then
    own = permits
  else
    if alive(holder) then sum = sum + permits end
    rest[#rest + 1] = sub(raw, at, at + 19)
  end
end
local granted = max(0, min(tonumber(ARGV[5]), tonumber(ARGV[6]) - sum - own))
if granted > 0 then
  rest[#rest + 1] = pack('>c16I4', who, own + granted)
  call('HSET', K.permits, hop, table.concat(rest))
end
return { 1, granted }
