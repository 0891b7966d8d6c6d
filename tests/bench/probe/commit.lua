-- Settles messages, in the shape of the queue's `commit`.
-- KEYS: counters, active, then per message its bucket of entries and its bucket of contents.
-- ARGV: token, then per message its id. Returns how many were settled.
-- Atomic because an entry, its content, its lease and the counters must change together.
local token = ARGV[1]
local settled = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local entries, contents = KEYS[2 * i - 1], KEYS[2 * i]
  local record = redis.call('HGET', entries, id)
  if record and string.sub(record, 1, 8) == token then
    redis.call('HDEL', entries, id)
    redis.call('HDEL', contents, id)
    redis.call('ZREM', KEYS[2], id)
    settled = settled + 1
  end
end
if settled > 0 then redis.call('HINCRBY', KEYS[1], 'delivered', settled) end
return settled
