-- Indexes: what changes is gathered per key and member, and the last change counts, so a batch writes each of them once.

local changes = {}
local woken = false
local function index(key, member, score) -- score false: remove
  local of = changes[key]
  if not of then
    of = {}
    changes[key] = of
  end
  of[member] = score
end
local function flush_index(key, of)
  local added, a, removed, r = {}, 0, {}, 0
  for member, score in pairs(of) do
    if score then
      added[a + 1], added[a + 2] = score, member
      a = a + 2
      if a == 1000 then
        call('ZADD', key, unpack(added, 1, a))
        a = 0
      end
    else
      r = r + 1
      removed[r] = member
      if r == 1000 then
        call('ZREM', key, unpack(removed, 1, r))
        r = 0
      end
    end
  end
  if a > 0 then call('ZADD', key, unpack(added, 1, a)) end
  if r > 0 then call('ZREM', key, unpack(removed, 1, r)) end
end
