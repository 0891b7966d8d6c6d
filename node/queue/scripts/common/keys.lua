-- Keys, time, and the names of states: what every function is given. This file comes first of those in front of each function; the order
-- is in src/redis/scripts.rs.
-- KEYS, the same for all, in one slot: 1-16 buckets of records, 17-32 buckets of inline contents, then the list below; more, where a
-- function says so, are the keys of chunked contents.
-- ARGV: 1 now (ms), 2 the wake-up channel; the rest is the function's own.

local call, pack, unpick = redis.call, struct.pack, struct.unpack
local sub, byte, char = string.sub, string.byte, string.char
local min, max = math.min, math.max
local now, channel = tonumber(ARGV[1]), ARGV[2]
local K = {
  due = KEYS[33], held = KEYS[34], owned = KEYS[35], deferred = KEYS[36], attend = KEYS[37], ready = KEYS[38], wait = KEYS[39],
  backed = KEYS[40], drain = KEYS[41], lanes = KEYS[42], queues = KEYS[43], releases = KEYS[44], released = KEYS[45],
  claims = KEYS[46], beats = KEYS[47], counters = KEYS[48], budget = KEYS[49], permits = KEYS[50], rates = KEYS[51],
  rate_ends = KEYS[52], facts = KEYS[53], fact_ends = KEYS[54], jobs = KEYS[55], job_times = KEYS[56], job_owners = KEYS[57],
  tombs = KEYS[58], ages = KEYS[59],
}
local FORMAT = 1
local INCOMING, DUE, DEFERRED, HELD, ACTIVE = 1, 2, 3, 4, 5
local STATES = { 'incoming', 'due', 'deferred', 'held', 'active' }
local QUARANTINE, ADMINISTRATOR = 5, 4
local NOBODY = string.rep('\0', 16)
local ENDLESS = 9007199254740991
