#!lua flags=allow-oom
-- Leases one entry, whatever its lane or hold.
-- KEYS: as in common/keys.lua. ARGV: 3 incarnation, 4 entry key.
-- Returns {4} departed | {0} not there or busy | {1, record, message record, content or '', flags (4 held)}.
-- Atomic because an entry must have one lease.
local who, key = ARGV[3], ARGV[4]
if not alive(who) then return { 4 } end
local id = sub(key, 1, 16)
local raws = call('HMGET', bucket(id), key, id)
local e, m = read_entry(key, raws[1]), read_message(raws[2])
if not e or not m or e.state == INCOMING or e.state == ACTIVE or (e.state == HELD and is_claimed(e)) then return { 0 } end
local content = m.chunks > 0 and '' or call('HGET', contents(id), id)
if not content then return { 0 } end
if e.state == HELD and is_free(e) then free(e) end
lease(e, who)
save(e)
flush()
return { 1, write_entry(e), raws[2], content, e.prev == HELD and 4 or 0 }
