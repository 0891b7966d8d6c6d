#!lua flags=no-writes
-- Lists a part of one bucket, or one entry. KEYS: as in common/keys.lua.
-- ARGV: 3 queue hash or '', 4 state or 0, 5 bucket (0-15), 6 cursor, 7 about how many; or 3 entry key, alone.
-- Returns {next cursor (text), then per entry: key, record, message record or '', state, reason it is held for, its lane's back-off}.
-- Atomic because state and back-off must be of one moment.
local fields, cursor, only, state_wanted = nil, '0', '', 0
if #ARGV == 3 then
  fields = { ARGV[3], call('HGET', bucket(ARGV[3]), ARGV[3]) or '' }
  if fields[2] == '' then return { '0' } end
else
  only, state_wanted = ARGV[3], tonumber(ARGV[4])
  local scan = call('HSCAN', KEYS[tonumber(ARGV[5]) + 1], ARGV[6], 'COUNT', ARGV[7])
  cursor, fields = scan[1], scan[2]
end
local out = { cursor }
for i = 1, #fields, 2 do
  local key = fields[i]
  if #key == 18 then
    local e = read_entry(key, fields[i + 1])
    local state, reason, backoff = HELD, QUARANTINE, 0
    if e then
      state, reason = e.state, e.state == HELD and e.reason or 0
      if state == HELD and is_free(e) then state, reason = DUE, 0 end
      if state == DUE or state == DEFERRED then backoff = lane_of(e.lane, e.queue).backoff end
    end
    if (only == '' or (e and e.queue == only)) and (state_wanted == 0 or state_wanted == state) then
      local n = #out
      out[n + 1], out[n + 2] = key, fields[i + 1]
      out[n + 3] = call('HGET', bucket(key), sub(key, 1, 16)) or ''
      out[n + 4], out[n + 5], out[n + 6] = state, reason, backoff
    end
  end
end
return out
