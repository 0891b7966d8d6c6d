#!lua flags=allow-oom
-- Takes permits back. KEYS: as in common/keys.lua. ARGV: 3 incarnation, 4 next hop, 5 how many. Returns {1}.
-- Atomic because all holders of a next hop stand in one record.
local raw, rest = call('HGET', K.permits, ARGV[4]) or '', {}
for at = 1, #raw, 20 do
  local holder, permits = unpick('>c16I4', raw, at)
  if holder == ARGV[3] then permits = permits - tonumber(ARGV[5]) end
  if permits > 0 then rest[#rest + 1] = pack('>c16I4', holder, permits) end
end
if raw ~= '' then
  if #rest == 0 then call('HDEL', K.permits, ARGV[4]) else call('HSET', K.permits, ARGV[4], table.concat(rest)) end
end
return { 1 }
