#!lua flags=allow-oom
-- Sets queue modes where the generation is greater, and releases what such a queue holds for the reason of another mode; moves nothing.
-- KEYS: as in common/keys.lua (ARGV 1 is the time of the releases).
-- ARGV: 3 generation, 4 most releases kept in a list, 5 how many; per queue its hash, reason or 0. Returns {generation told before}.
-- Atomic because the comparison, the change and the release are one: who is too late for one of them is too late for all.
local generation, most, last = tonumber(ARGV[3]), tonumber(ARGV[4]), 5 + 2 * tonumber(ARGV[5])
local c = counters()
local before, high = c.told, c.sequence
if generation < before then return { before } end
local hashes = {}
for at = 6, last, 2 do hashes[ARGV[at]] = true end
prefetch({}, hashes)
c.told = generation
for at = 6, last, 2 do
  local hash, hold = ARGV[at], tonumber(ARGV[at + 1])
  local queue = queue_of(hash)
  if generation > queue.generation then
    queue.known, queue.hold, queue.generation = 1, hold, generation
    for reason = 1, 3 do
      if reason ~= hold then
        local held = queue[HELD] > 0 and held_count(reason, hash, high_water(reason, hash), high) or 0
        if held > 0 then mark_draining(reason, hash) end
        -- What is leased out of a hold may be given back to it.
        if held > 0 or queue[ACTIVE] > 0 then record_release(reason, hash, most) end
      end
    end
  end
end
flush()
return { before }
