#!lua flags=allow-oom
-- Sets queue modes where the generation is greater. KEYS: as in common/keys.lua.
-- ARGV: 3 how many; per queue its hash, reason or 0, generation. Returns {1}.
-- Atomic because the comparison and the change are one.
for at = 4, 3 + 3 * tonumber(ARGV[3]), 3 do
  local queue, generation = queue_of(ARGV[at]), tonumber(ARGV[at + 2])
  if generation > queue.generation then
    queue.known, queue.hold, queue.generation = 1, tonumber(ARGV[at + 1]), generation
  end
end
flush()
return { 1 }
