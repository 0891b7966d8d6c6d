#!lua flags=allow-oom
-- Sets an incarnation's reservation in the byte budget. KEYS: as in common/keys.lua.
-- ARGV: 3 incarnation, 4 octets, 5 room or ''. Returns {1} done | {0} no room | {4} departed.
-- Atomic because the sum over all incarnations decides.
local who, octets, room = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if not alive(who) then return { 4 } end
local own, sum = 0, octets
local all = call('HGETALL', K.budget)
for i = 1, #all, 2 do
  if all[i] == who then
    own = tonumber(all[i + 1])
  elseif alive(all[i]) then
    sum = sum + tonumber(all[i + 1])
  end
end
if room and sum > room and octets >= own then
  return { 0 }
end
if octets == 0 then call('HDEL', K.budget, who) else call('HSET', K.budget, who, ARGV[4]) end
return { 1 }
