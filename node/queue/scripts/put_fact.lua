#!lua flags=allow-oom
-- Remembers a fact. KEYS: as in common/keys.lua. ARGV: 3 kind and key, 4 until, 5 value. Returns {1}.
-- Atomic because a fact and its end belong together.
call('HSET', K.facts, ARGV[3], pack('>I8', tonumber(ARGV[4])) .. ARGV[5])
call('ZADD', K.fact_ends, ARGV[4], ARGV[3])
return { 1 }
