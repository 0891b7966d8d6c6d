-- Enqueues messages with a lease, in the shape of the queue's `enqueue`.
-- KEYS: counters, active, then per message its bucket of entries and its bucket of contents.
-- ARGV: token, lease's end, record, content, then per message its id. Returns how many were new.
-- Atomic because an entry, its content, its lease and the counters must appear together.
local token, deadline, record, content = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local new = 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local entries, contents = KEYS[2 * i - 7], KEYS[2 * i - 6]
  if redis.call('HSETNX', entries, id, token .. record) == 1 then
    redis.call('HSET', contents, id, content)
    redis.call('ZADD', KEYS[2], deadline, id)
    new = new + 1
  end
end
if new > 0 then redis.call('HINCRBY', KEYS[1], 'accepted', new) end
return new
