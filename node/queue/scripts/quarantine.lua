#!lua flags=allow-oom
-- Puts aside a leased entry whose body or message the node cannot read.
-- KEYS: as in common/keys.lua. ARGV: 3 incarnation, 4 entry key, 5 token. Returns {1} done | {2} no longer leased so.
-- Atomic because its lease ends with it.
local key = ARGV[4]
local e = read_entry(key, call('HGET', bucket(key), key))
if not e or e.state ~= ACTIVE or e.owner ~= ARGV[3] or e.token ~= tonumber(ARGV[5]) then return { 2 } end
local m = read_message(call('HGET', bucket(key), e.id))
if m and confirm(m) then
  if m.next > 1 then activate(e.id, m) end
  call('HSET', bucket(key), e.id, write_message(m))
end
quarantine(e)
flush()
return { 1 }
