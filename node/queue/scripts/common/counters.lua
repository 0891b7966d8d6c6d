-- Counters: entries by state, the accounting, tokens, hold sequences, turns of lanes, the generation whose modes were told last. They are read once and written once a batch.

local COUNTERS = { 'incoming', 'due', 'deferred', 'held', 'active', 'accepted', 'expanded', 'generated', 'delivered', 'relayed',
  'failed', 'fetched', 'deleted', 'discarded', 'queued', 'token', 'sequence', 'turn', 'told' }
local cnt, cnt_before
local function counters()
  if not cnt then
    local raw = call('HMGET', K.counters, unpack(COUNTERS))
    cnt, cnt_before = {}, {}
    for i, name in ipairs(COUNTERS) do
      local value = tonumber(raw[i] or 0)
      cnt[name], cnt_before[name] = value, value
    end
  end
  return cnt
end
local function add(name, by)
  local c = counters()
  c[name] = c[name] + by
  return c[name]
end
