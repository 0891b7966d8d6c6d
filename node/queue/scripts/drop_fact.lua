#!lua flags=allow-oom
-- Forgets a fact. KEYS: as in common/keys.lua. ARGV: 3 kind and key. Returns {1}. Atomic because a fact and its end belong together.
call('HDEL', K.facts, ARGV[3])
call('ZREM', K.fact_ends, ARGV[3])
return { 1 }
