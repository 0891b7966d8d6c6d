-- Messages: their records, and how they come into the accounting.

local MESSAGE, MESSAGE_SIZE = '>BBI2I2I4BBI4I4I8', 28
local function bucket(id) return KEYS[byte(id, 16) % 16 + 1] end
local function contents(id) return KEYS[byte(id, 16) % 16 + 17] end
-- nil when it is not there, withdrawn, or not readable.
local function read_message(raw)
  if not raw or #raw < MESSAGE_SIZE or byte(raw, 1) ~= FORMAT or byte(raw, 2) ~= 1 then return nil end
  local m = {}
  local _, at
  _, _, m.remaining, m.next, m.chunks, m.confirmed, m.origin, m.named, m.total, m.size, at = unpick(MESSAGE, raw)
  m.meta = sub(raw, at)
  return m
end
local function write_message(m)
  return pack(MESSAGE, FORMAT, 1, m.remaining, m.next, m.chunks, m.confirmed, m.origin, m.named, m.total, m.size) .. m.meta
end
local function is_tombstone(raw) return raw and #raw == 2 and byte(raw, 2) == 2 end
-- Takes a message into the accounting, once.
local function confirm(m)
  if m.confirmed == 1 then return false end
  m.confirmed = 1
  add(m.origin == 1 and 'accepted' or 'generated', m.named)
  if m.total > m.named then add('expanded', m.total - m.named) end
  if m.total < m.named then add('discarded', m.named - m.total) end
  add('queued', m.total)
  return true
end
